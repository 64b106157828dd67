"""Images that are in memory already: arrays of a notebook, as a source of this process alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.images import RawImage, UnreadableImage, float_levels
from dataprops.sources.table import SourceOptions, image_table

_HELD: dict[str, tuple[np.ndarray, list[str | None]]] = {}


def hold(images: np.ndarray, labels: Sequence | None = None, name: str = "array") -> str:
    """Keep arrays for an audit in this process; returns the source to audit, ``array:name``.

    Parameters
    ----------
    images : array [n, height, width] or [n, height, width, 1 or 3]
        uint8 grey levels, or numbers that are brought to [0, 255] image by image as `images` states for floats.
    labels : sequence of n, optional
        Classes or numbers; None or NaN = unlabelled.

    Raises
    ------
    DatapropsError
        If the shapes do not fit.
    """
    images = np.asarray(images)
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[-1] not in (1, 3)):
        raise DatapropsError(
            f"images have shape {images.shape}, wanted: [n, height, width] or [n, height, width, 1 or 3]"
        )
    if labels is not None and len(labels) != len(images):
        raise DatapropsError(f"there are {len(images)} images and {len(labels)} labels: give one for each")
    given = [None] * len(images) if labels is None else [None if pd.isna(label) else str(label) for label in labels]
    _HELD[name] = images, given
    return f"array:{name}"


def drop(name: str) -> None:
    """Forget the arrays of `hold`."""
    _HELD.pop(name, None)


def scan(location: str, options: SourceOptions) -> pd.DataFrame:
    """List the images of an array; see `sources.Source`."""
    if location not in _HELD:
        raise DatapropsError(f"there is no array {location!r} in this process: pass arrays to dataprops.audit.audit")
    images, labels = _HELD[location]
    if not len(images):
        raise DatapropsError("the array holds no images")
    width = len(str(len(images) - 1))
    keys = [f"{number:0{width}d}" for number in range(len(images))]
    table = image_table(keys, labels, [None] * len(keys), [None] * len(keys))
    table.attrs.update(ignored=[], empty_classes=[])
    return table


def read(location: str, key: str, options: SourceOptions) -> RawImage:
    """One image of an array."""
    pixels = _HELD[location][0][int(key)]
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if pixels.dtype != np.uint8:
        try:
            pixels = float_levels(pixels, is_float=pixels.dtype.kind == "f")
        except UnreadableImage as reason:
            raise OSError(0, str(reason)) from None
    mode = "L" if pixels.ndim == 2 else "RGB"
    return RawImage(np.ascontiguousarray(pixels), "array", mode, pixels.shape[1], pixels.shape[0])
