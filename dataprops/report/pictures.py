"""Canonical images as small pictures inside a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from dataprops.util.tools import cores

LARGEST, SMALLEST = 160, 96  # pixels: bigger pictures are reduced, tiny ones enlarged without smoothing


class Rung(NamedTuple):
    """How pictures are packed: the longest side, the quality (None: as they are), the format."""

    side: int
    quality: int | None
    form: str = "png"


# the first that fits the budget of a page is taken; JPEG is packed five to fifteen times as fast as WebP, which is smaller
RUNGS: tuple[Rung, ...] = (
    Rung(448, None),
    *(
        Rung(side, quality, form)
        for side, webp, jpeg in ((448, 85, 90), (320, 80, 86), (224, 80, 86), (224, 65, 72))
        for quality, form in ((jpeg, "jpeg"), (webp, "webp"))
    ),
    Rung(176, 65, "webp"),
    Rung(128, 60, "webp"),
    Rung(96, 55, "webp"),
)
TRIED = 12  # pictures by which the size of all is judged
DIFFERENCE = (Rung(112, 60, "jpeg"), Rung(112, 50, "webp"))  # of a difference; the second where there are many

Picture = Callable[[int], np.ndarray | None]


def _image(pixels: np.ndarray):
    from PIL import Image

    return Image.fromarray(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels)


def _within(image, largest: int):
    from PIL import Image

    side = max(image.size)
    if side <= largest:
        return image
    return image.resize([max(1, round(length * largest / side)) for length in image.size], Image.Resampling.LANCZOS)


def png(pixels: np.ndarray, largest: int = LARGEST) -> bytes:
    """A uint8 [height, width, 1 or 3] image as PNG, its longer side at most `largest`."""
    from PIL import Image

    image = _within(_image(pixels), largest)
    if max(image.size) < SMALLEST:
        times = -(-SMALLEST // max(image.size))
        image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def data_uri(pixels: np.ndarray, largest: int = LARGEST) -> str:
    """`png` as a data: address."""
    return address("png", png(pixels, largest))


def encode(pixels: np.ndarray, rung: Rung) -> bytes:
    """A picture whose longer side is at most that of the rung, packed as it says."""
    out, image = io.BytesIO(), _within(_image(pixels), rung.side)
    if rung.form == "png":
        image.save(out, "PNG", compress_level=1)  # a tenth larger than the smallest, in a fraction of the time
    elif rung.form == "jpeg":
        image.save(out, "JPEG", quality=rung.quality, subsampling=0)
    else:
        image.save(out, "WEBP", quality=rung.quality, method=2)
    return out.getvalue()


def encode_all(pictures: Sequence[np.ndarray], rung: Rung) -> list[bytes]:
    """As `encode`, of several pictures on all cores: what resizes and packs them does not hold Python's lock."""
    with ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(lambda pixels: encode(pixels, rung), pictures))


def address(form: str, data: bytes) -> str:
    """A picture as a data: address."""
    return f"data:image/{form};base64,{base64.b64encode(data).decode('ascii')}"


def choose_rung(picture: Picture, ids: Sequence[int], budget: int) -> int:
    """Place in `RUNGS` of the best side and quality at which these images take at most `budget` bytes, judged by some of them."""
    tried = [pixels for i in ids[:: max(1, len(ids) // TRIED)] if (pixels := picture(int(i))) is not None]
    if not tried:
        return 0
    for at, rung in enumerate(RUNGS):
        if rung.quality is None and max(max(pixels.shape[:2]) for pixels in tried) > rung.side:
            continue
        mean = sum(len(encode(pixels, rung)) for pixels in tried) / len(tried)
        if 1.1 * mean * len(ids) <= budget:
            return at
    return len(RUNGS) - 1


def framed(pixels: np.ndarray, cell: tuple[int, int]) -> np.ndarray:
    """An image [h, w, c] with a white frame in a black one around a cell of a grid of 8 x 8.

    >>> framed(np.full((16, 16, 1), 9, np.uint8), (0, 0))[:4, :4, 0].tolist()
    [[9, 9, 255, 0], [9, 9, 255, 0], [255, 255, 255, 0], [0, 0, 0, 0]]
    """
    out, shape = pixels.copy(), pixels.shape[:2]
    for thick, level in ((2, 0), (1, 255), (0, None)):
        part = tuple(
            slice(
                max(0, round(at * side / 8) - thick * max(1, side // 100)),
                round((at + 1) * side / 8) + thick * max(1, side // 100),
            )
            for at, side in zip(cell, shape, strict=True)
        )
        out[part] = pixels[part] if level is None else level
    return out


def difference(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, float]:
    """Absolute difference of two images [h, w, c] as grey levels [h, w, 1], stretched to 255; and by how much it was.

    Of several channels the largest difference counts. Equal images: black, times 0.
    """
    apart = np.abs(a.astype(np.int16) - b.astype(np.int16)).max(axis=-1, keepdims=True)
    top = int(apart.max())
    times = 255 / top if top else 0.0
    return np.round(apart * times).astype(np.uint8), times
