"""SVHN, cropped digits: MATLAB files with X [32, 32, 3, n] and y [n, 1], where 10 denotes the digit 0."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from dataprops.imaging.decode import RawImage
from dataprops.sources.matlab import Damaged, array, variables
from dataprops.sources.paper.layout import Image, have, listing, need, unreadable
from dataprops.util import budget
from dataprops.util.cache import FileCache

log = logging.getLogger(__name__)

TREE = """\
    PATH/train_32x32.mat    PATH/test_32x32.mat    PATH/extra_32x32.mat    (the last two may be absent)
"""
RULES: dict[str, tuple[str, ...]] = {}
SPLITS = ("train", "test", "extra")
LARGEST_SET = 2**31  # maximum uncompressed size of a file, bytes; the extra digits have 1.6e9
_images: FileCache[np.ndarray] = FileCache()
_labels: FileCache[np.ndarray] = FileCache()


def _shape(file: Path, name: str) -> tuple[int, ...]:
    with _told(file):
        return next((variable.shape for variable in variables(file, LARGEST_SET) if variable.name == name), ())


def _values(file: Path, name: str) -> np.ndarray:
    with _told(file):
        for variable in variables(file, LARGEST_SET):
            if variable.name == name:
                if not variable.kind:
                    raise unreadable(f"{file.name}: {name} is not an array of whole numbers")
                return array(variable)
    raise unreadable(f"{file.name} has no {name}")


@contextmanager
def _told(file: Path) -> Iterator[None]:
    """Add the file name to errors about corrupt files."""
    try:
        yield
    except (Damaged, budget.OverBudget) as error:
        raise unreadable(f"{file.name} {error}") from None


def _load_labels(file: Path) -> tuple[np.ndarray, int]:
    labels = _values(file, "y").reshape(-1).astype(np.int64)
    if labels.size and not (labels.min() >= 0 and labels.max() <= 10):
        raise unreadable(f"{file.name} holds labels from {labels.min()} to {labels.max()}; expected 1 to 10")
    shape = _shape(file, "X")
    if len(shape) != 4 or shape[:3] != (32, 32, 3):
        raise unreadable(f"{file.name}: X has shape {list(shape)}; expected [32, 32, 3, n]")
    if shape[3] != len(labels):
        raise unreadable(f"{file.name} holds {shape[3]} images and {len(labels)} labels")
    return labels % 10, labels.nbytes


def _load_images(file: Path) -> tuple[np.ndarray, int]:
    pixels = _values(file, "X")
    if pixels.dtype != np.uint8 or pixels.ndim != 4:
        raise unreadable(f"{file.name}: X is not uint8 [32, 32, 3, n]")
    return pixels, pixels.nbytes


def scan(root: Path, rules: Mapping[str, str]) -> pd.DataFrame:
    """List the digits; see `paper.Reader`."""
    need("svhn", TREE, root, *(f"{split}_32x32.mat" for split in SPLITS))
    images: list[Image] = []
    damaged: list[Image] = []
    for split in SPLITS:
        file = have(root, f"{split}_32x32.mat")
        if file is None:
            continue
        try:
            labels = _labels.get(file, _load_labels)
        except OSError as error:
            log.warning("%s cannot be read (%s): it counts as one image that cannot be read", file, error.strerror)
            damaged.append(Image(split, None, split))
            continue
        images += [Image(f"{split}/{number:06d}", str(label), split) for number, label in enumerate(labels.tolist())]
    return listing(images, damaged=damaged)


def read(root: Path, key: str) -> RawImage:
    """Read one digit."""
    split, _, number = key.partition("/")
    file = root / f"{split}_32x32.mat"
    if not number:
        _labels.get(file, _load_labels)
        raise unreadable(f"{file.name} could not be read when the set was listed, now it can: audit again")
    # in MATLAB's order the last axis varies slowest: an image is contiguous
    pixels = _images.get(file, _load_images)[..., int(number)]
    return RawImage(np.ascontiguousarray(pixels), "mat", "RGB", 32, 32)
