"""The handwritten digits that ship with scikit-learn: 1,797 images of 8 x 8 pixels, ten classes; no download."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd

from dataprops.imaging.decode import RawImage
from dataprops.sources.table import SourceOptions, image_table


@functools.lru_cache(maxsize=1)
def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    # grey levels 0..16 become 0..255
    return np.rint(digits.images * (255 / 16)).astype(np.uint8), digits.target


def scan(location: str, options: SourceOptions) -> pd.DataFrame:
    """List the digits; see `sources.Source`."""
    _, target = _digits()
    keys = [f"{label}/{number:04d}" for number, label in enumerate(target)]
    table = image_table(keys, [str(label) for label in target], [None] * len(keys), [None] * len(keys))
    table.attrs.update(ignored=[], empty_classes=[])
    return table


def read(location: str, key: str, options: SourceOptions) -> RawImage:
    """One digit."""
    images, _ = _digits()
    pixels = images[int(key.rsplit("/", 1)[1])]
    return RawImage(pixels, "array", "L", pixels.shape[1], pixels.shape[0])
