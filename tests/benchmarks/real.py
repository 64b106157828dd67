"""Real images for the benchmark: every folder in a directory is a set, loaded as canonical uint8 rows with labels.

A folder contains ``class/file`` images, or MNIST's idx files. Images of one small square size keep it; all others are resized to
224 x 224, as in an audit. Grey sets have one channel.
"""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dataprops.errors import DatapropsError
from dataprops.imaging.decode import Preprocess, RawImage, UnreadableImage, canonical, decode, default_channels, is_grey
from dataprops.sources import open_source
from dataprops.sources.labels import label_values

SIZE = 224
SMALL = 64  # the largest size that is kept
MOST = 30_000  # rows of a set: scikit-learn would take minutes for more
LEAST = 200
LOOK = 64


class RealSet(NamedTuple):
    """Rows uint8 [n, D] and labels float64 [n] of a set."""

    name: str
    pixels: np.ndarray
    y: np.ndarray


def idx_set(folder: Path) -> RealSet:
    """MNIST's training images."""
    images, labels = (
        np.frombuffer(
            gzip.decompress(next(folder.glob(f"train-{name}-ubyte.gz")).read_bytes()), np.uint8, offset=offset
        )
        for name, offset in (("images-idx3", 16), ("labels-idx1", 8))
    )
    pixels = images.reshape(len(labels), -1)[:MOST]
    return RealSet(folder.name, pixels, labels[:MOST].astype(np.float64))


def folder_set(folder: Path) -> RealSet:
    """The readable images of a folder, identical ones once, evenly chosen where there are too many."""
    source = open_source(str(folder))
    table = source.scan()
    table = table.iloc[np.linspace(0, len(table) - 1, min(len(table), MOST)).astype(int)]
    keys, labels = table["key"].tolist(), table["label"].tolist()

    def raw(key: bytes | str) -> RawImage | None:

        try:
            image = source.read(os.fsdecode(key))
            return decode(image) if isinstance(image, bytes) else image
        except (UnreadableImage, OSError):
            return None

    look = [image for key in keys[:: max(1, len(keys) // LOOK)] if (image := raw(key)) is not None]
    if not look:
        raise DatapropsError(f"none of the images of {folder} can be read")
    shapes = {image.pixels.shape[:2] for image in look}
    side = next(iter(shapes))
    size = side[0] if len(shapes) == 1 and side[0] == side[1] and side[0] <= SMALL else SIZE
    preprocess = Preprocess(size, default_channels([is_grey(image) for image in look]))
    pixels = np.empty((len(keys), preprocess.features), np.uint8)
    kept: dict[bytes, int] = {}
    names = []
    for key, label in zip(keys, labels, strict=True):
        image = raw(key)
        if image is None:
            continue
        row = canonical(image, preprocess)[0].reshape(-1)
        if row.tobytes() not in kept:
            pixels[len(kept)] = row
            kept[row.tobytes()] = len(kept)
            names.append(label)
    return RealSet(folder.name, pixels[: len(kept)], label_values(names, "auto")[1])


def real_set(folder: Path) -> RealSet:
    """A set by its folder."""
    return idx_set(folder) if any(folder.glob("*idx3-ubyte.gz")) else folder_set(folder)
