"""Canonical images encoded as pictures for embedding."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from dataprops.util.tools import cores

LARGEST, SMALLEST = 160, 96  # pixels: larger pictures are reduced, smaller ones enlarged without smoothing


class Rung(NamedTuple):
    """How pictures are encoded: longest side (pixels), quality (None: lossless), format."""

    side: int
    quality: int | None
    form: str = "png"


# the first that fits the page's budget is used; JPEG encodes five to fifteen times faster than WebP, which is smaller
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
TRIED = 12  # pictures encoded to estimate the total size
DIFFERENCE = (Rung(112, 60, "jpeg"), Rung(112, 50, "webp"))  # for difference images; the second if there are many

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
    """A uint8 [h, w, 1 or 3] image as PNG, with its longer side at most `largest` pixels."""
    from PIL import Image

    image = _within(_image(pixels), largest)
    if max(image.size) < SMALLEST:
        times = -(-SMALLEST // max(image.size))
        image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def data_uri(pixels: np.ndarray, largest: int = LARGEST) -> str:
    """`png` as a data: URL."""
    return address("png", png(pixels, largest))


def encode(pixels: np.ndarray, rung: Rung) -> bytes:
    """Encode a picture as the rung says, reduced to its longest side."""
    out, image = io.BytesIO(), _within(_image(pixels), rung.side)
    if rung.form == "png":
        image.save(out, "PNG", compress_level=1)  # 10 % larger than optimal, in a fraction of the time
    elif rung.form == "jpeg":
        image.save(out, "JPEG", quality=rung.quality, subsampling=0)
    else:
        image.save(out, "WEBP", quality=rung.quality, method=2)
    return out.getvalue()


def encode_all(pictures: Sequence[np.ndarray], rung: Rung) -> list[bytes]:
    """`encode` for several pictures, in threads on all cores (Pillow releases the GIL)."""
    with ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(lambda pixels: encode(pixels, rung), pictures))


def address(form: str, data: bytes) -> str:
    """A picture as a data: URL."""
    return f"data:image/{form};base64,{base64.b64encode(data).decode('ascii')}"


def choose_rung(picture: Picture, ids: Sequence[int], budget: int) -> int:
    """Index in `RUNGS` of the best rung at which these images fit `budget` bytes, estimated from a sample."""
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
    """An image [h, w, c] with a white-and-black frame around a cell of an 8 x 8 grid.

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
    """Absolute difference of two images [h, w, c] as uint8 [h, w, 1], scaled to a maximum of 255, and the scale factor.

    Takes the largest difference over channels. For equal images: black, factor 0.
    """
    apart = np.abs(a.astype(np.int16) - b.astype(np.int16)).max(axis=-1, keepdims=True)
    top = int(apart.max())
    times = 255 / top if top else 0.0
    return np.round(apart * times).astype(np.uint8), times
