"""The handwritten digits that ship with scikit-learn: 1,797 images of 8 x 8 pixels, ten classes; no download."""

from __future__ import annotations

import functools
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.imaging.decode import RawImage
from dataprops.sources.table import SourceOptions, image_table


@functools.lru_cache(maxsize=1)
def _digits() -> tuple[np.ndarray, np.ndarray]:
    # read the file directly: importing scikit-learn takes longer than auditing its digits
    package = find_spec("sklearn")
    if package is None or not package.submodule_search_locations:
        raise DatapropsError("digits: needs scikit-learn, which has them: pip install scikit-learn")
    file = Path(package.submodule_search_locations[0]) / "datasets" / "data" / "digits.csv.gz"
    table = np.loadtxt(file, delimiter=",")
    # scale grey levels 0..16 to 0..255; the last column is the label
    return np.rint(table[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8), table[:, -1].astype(np.int64)


def scan(location: str, options: SourceOptions) -> pd.DataFrame:
    """List the digits; see `sources.Source`. Raises DatapropsError if scikit-learn is not installed."""
    _, target = _digits()
    keys = [f"{label}/{number:04d}" for number, label in enumerate(target)]
    table = image_table(keys, [str(label) for label in target], [None] * len(keys), [None] * len(keys))
    table.attrs.update(ignored=[], empty_classes=[])
    return table


def read(location: str, key: str, options: SourceOptions) -> RawImage:
    """Read one digit, 8 x 8 pixels."""
    images, _ = _digits()
    pixels = images[int(key.rsplit("/", 1)[1])]
    return RawImage(pixels, "array", "L", pixels.shape[1], pixels.shape[0])
