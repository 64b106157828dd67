"""Canonical images as small PNG pictures inside a page."""

from __future__ import annotations

import base64
import io

import numpy as np

LARGEST, SMALLEST = 160, 96  # pixels: bigger pictures are reduced, tiny ones enlarged without smoothing


def png(pixels: np.ndarray, largest: int = LARGEST) -> bytes:
    """A uint8 [height, width, 1 or 3] image as PNG, its longer side at most `largest`."""
    from PIL import Image

    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    side = max(image.size)
    if side > largest:
        image = image.resize(
            [max(1, round(length * largest / side)) for length in image.size], Image.Resampling.LANCZOS
        )
    elif side < SMALLEST:
        times = -(-SMALLEST // side)
        image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def data_uri(pixels: np.ndarray, largest: int = LARGEST) -> str:
    """`png` as a data: address."""
    return "data:image/png;base64," + base64.b64encode(png(pixels, largest)).decode("ascii")
