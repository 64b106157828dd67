"""Read 16-bit colour from PNG, TIFF and PPM files with Pillow, which keeps 8 bits.

Pillow decodes such files to the upper byte of each sample; with the byte order swapped, to the lower byte. The two are combined.
Colour of more than 8 bits in JPEG 2000 and AVIF, and 16-bit grey with transparency, are left as Pillow decodes them.
"""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
from PIL import Image, ImageOps

ORDERS = {"RGB;16B": "RGB;16L", "RGB;16L": "RGB;16B", "RGBA;16B": "RGBA;16L", "RGBA;16L": "RGBA;16B"}
OTHER = "B" if sys.byteorder == "little" else "L"  # libtiff returns samples in native byte order
SWAPPED = {**ORDERS, "RGB;16N": f"RGB;16{OTHER}", "RGBA;16N": f"RGBA;16{OTHER}"}
SUFFIX = ";16"  # appended to Pillow's mode


def is_wide(image: Image.Image) -> bool:
    """Whether an opened, not yet loaded image has 16-bit colour that this module can read."""
    tiles = getattr(image, "tile", None)
    if not tiles or image.mode not in ("RGB", "RGBA") or "transparency" in image.info:
        return False
    if tiles[0].codec_name == "ppm":
        return image.mode == "RGB" and _largest(tiles[0]) > 255
    return all(_raw_mode(tile) in SWAPPED for tile in tiles)


def _raw_mode(tile: Any) -> str:
    arguments = tile.args
    return str(arguments if isinstance(arguments, str) else arguments[0] if arguments else "")


def _largest(tile: Any) -> int:
    """Maximum sample value (white) of a PPM file."""
    arguments = tile.args if isinstance(tile.args, tuple) else (tile.args,)
    return next((part for part in reversed(arguments) if isinstance(part, int)), 255)


def samples(data: bytes) -> np.ndarray:
    """Read 16-bit samples, with orientation applied and transparency over black: uint16 [height, width, 3].

    Parameters
    ----------
    data : bytes
        Of an image for which `is_wide` is true.

    Raises
    ------
    Exception
        As raised by Pillow's decoders for damaged files.
    """
    with Image.open(io.BytesIO(data)) as upper:
        tile = upper.tile[0]
        if tile.codec_name == "ppm":
            return _of_ppm(upper, data)
        high = _loaded(upper)
    with Image.open(io.BytesIO(data)) as lower:
        lower.tile = [_other_order(tile) for tile in lower.tile]
        low = _loaded(lower)
    out = high.astype(np.uint16)
    out <<= 8
    out |= low
    if out.shape[2] == 4:
        for band in range(3):
            out[..., band] = np.rint(out[..., band] * (out[..., 3] / np.float32(65535)))
        out = np.ascontiguousarray(out[..., :3])
    return out


def _other_order(tile: Any) -> Any:
    mode = SWAPPED[_raw_mode(tile)]
    return tile._replace(args=mode if isinstance(tile.args, str) else (mode, *tile.args[1:]))


def _loaded(image: Image.Image) -> np.ndarray:
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    return np.asarray(image)


def _of_ppm(image: Image.Image, data: bytes) -> np.ndarray:
    """Samples read directly from the file, two bytes each."""
    width, height = image.size
    tile = image.tile[0]
    if len(data) - tile.offset < 6 * width * height:
        raise OSError("image file is truncated")
    return np.frombuffer(data, ">u2", 3 * width * height, tile.offset).astype(np.uint16).reshape(height, width, 3)
