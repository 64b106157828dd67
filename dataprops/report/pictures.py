"""Canonical images as small pictures inside a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence

import numpy as np

LARGEST, SMALLEST = 160, 96  # pixels: bigger pictures are reduced, tiny ones enlarged without smoothing
# (longest side, quality of lossy WebP or None for lossless): the first that fits the budget of a page is taken
RUNGS: tuple[tuple[int, int | None], ...] = (
    (448, None),
    (448, 85),
    (320, 80),
    (224, 80),
    (224, 65),
    (176, 65),
    (128, 60),
    (96, 55),
)
TRIED = 12  # pictures by which the size of all is judged
DIFFERENCE = (112, 50)  # side and quality of a difference

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


def encode(pixels: np.ndarray, side: int, quality: int | None) -> tuple[str, bytes]:
    """Format and bytes of a picture whose longer side is at most `side`: WebP of this quality, or lossless PNG without one."""
    if quality is None:
        return "png", png(pixels, side)
    out = io.BytesIO()
    _within(_image(pixels), side).save(out, "WEBP", quality=quality, method=2)
    return "webp", out.getvalue()


def address(form: str, data: bytes) -> str:
    """A picture as a data: address."""
    return f"data:image/{form};base64,{base64.b64encode(data).decode('ascii')}"


def choose_rung(picture: Picture, ids: Sequence[int], budget: int) -> int:
    """Place in `RUNGS` of the best side and quality at which these images take at most `budget` bytes, judged by some of them."""
    tried = [pixels for i in ids[:: max(1, len(ids) // TRIED)] if (pixels := picture(int(i))) is not None]
    if not tried:
        return 0
    for rung, (side, quality) in enumerate(RUNGS):
        if quality is None and max(max(pixels.shape[:2]) for pixels in tried) > side:
            continue
        mean = sum(len(encode(pixels, side, quality)[1]) for pixels in tried) / len(tried)
        if 1.1 * mean * len(ids) <= budget:
            return rung
    return len(RUNGS) - 1


def difference(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, float]:
    """Absolute difference of two images [h, w, c] as grey levels [h, w, 1], stretched to 255; and by how much it was.

    Of several channels the largest difference counts. Equal images: black, times 0.
    """
    apart = np.abs(a.astype(np.int16) - b.astype(np.int16)).max(axis=-1, keepdims=True)
    top = int(apart.max())
    times = 255 / top if top else 0.0
    return np.round(apart * times).astype(np.uint8), times
