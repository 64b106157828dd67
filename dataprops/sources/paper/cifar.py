"""CIFAR-10: the Python batches, read by an unpickler that runs no code, or the binary ones."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from dataprops.imaging.decode import RawImage
from dataprops.sources.paper.layout import Image, base_of, have, listing, need, unreadable
from dataprops.sources.paper.unpickle import load_arrays
from dataprops.util.budget import read_whole
from dataprops.util.cache import FileCache

log = logging.getLogger(__name__)

TREE = """\
    PATH/cifar-10-batches-py/data_batch_1 ... data_batch_5, test_batch, batches.meta
    or  PATH/cifar-10-batches-bin/data_batch_1.bin ... data_batch_5.bin, test_batch.bin, batches.meta.txt
    (PATH may be the inner folder)
"""
RULES: dict[str, tuple[str, ...]] = {}
FOLDERS = ("cifar-10-batches-py", "cifar-10-batches-bin")
BATCHES = (*(("train", f"data_batch_{number}") for number in range(1, 6)), ("test", "test_batch"))
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
SIDE = 32
VALUES = 3 * SIDE * SIDE


class Batch(NamedTuple):
    """Labels uint8 [n] and pixels uint8 [n, 3072] of a batch; the last image may be truncated."""

    labels: np.ndarray
    data: np.ndarray
    cut: int


_held: FileCache[Batch] = FileCache()


def _load(file: Path) -> tuple[Batch, int]:
    data = read_whole(file)
    batch = _binary(data) if file.suffix == ".bin" else pixels_and_labels(data, file.name)
    if batch.labels.size and int(batch.labels.max()) >= len(CLASSES):
        raise unreadable(f"{file.name} holds the label {int(batch.labels.max())}: not a CIFAR-10 batch")
    return batch, batch.data.nbytes


def _binary(data: bytes) -> Batch:
    """Parse records of one label byte and 3 x 32 x 32 values."""
    record = 1 + VALUES
    count = -(-len(data) // record)
    padded = np.zeros(count * record, np.uint8)
    padded[: len(data)] = np.frombuffer(data, np.uint8)
    rows = padded.reshape(count, record)
    return Batch(rows[:, 0], rows[:, 1:], len(data) % record)


def pixels_and_labels(data: bytes, name: str, labels_are: str = "labels") -> Batch:
    """Images of a pickled batch, with the labels stored under the key `labels_are`."""
    try:
        held = load_arrays(data)
    except ValueError as error:
        raise unreadable(f"{name}: {error}") from None
    pixels, labels = held.get("data"), held.get(labels_are)
    if isinstance(labels, np.ndarray) and labels.dtype.kind in "ui":
        labels = labels.reshape(-1).tolist()
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != (VALUES,):
        raise unreadable(f"{name} holds no data of shape [n, {VALUES}]")
    if not isinstance(labels, list) or not all(isinstance(label, int) and 0 <= label < 256 for label in labels):
        raise unreadable(f"{name} holds no list of labels")
    if len(labels) != len(pixels):
        raise unreadable(f"{name} holds {len(pixels)} images and {len(labels)} labels")
    return Batch(np.array(labels, np.uint8), np.ascontiguousarray(pixels), 0)


def _classes(base: Path) -> list[str]:
    """Class names from the dataset's metadata; otherwise the published ones."""
    names: list[str] = []
    if (base / "batches.meta").is_file():
        try:
            given = load_arrays(read_whole(base / "batches.meta")).get("label_names")
        except (OSError, ValueError) as error:
            log.warning("%s/batches.meta cannot be read (%s): the published names of the classes are used", base, error)
            given = None
        if isinstance(given, list) and all(isinstance(name, str | bytes) for name in given):
            names = [name.decode("latin1") if isinstance(name, bytes) else name for name in given]
    elif (base / "batches.meta.txt").is_file():
        names = (base / "batches.meta.txt").read_text("latin1").split()
    return names if len(set(names)) == len(CLASSES) else CLASSES


def _base(root: Path) -> Path:
    return base_of(root, FOLDERS, ("data_batch_1", "data_batch_1.bin"))


def scan(root: Path, rules: Mapping[str, str]) -> pd.DataFrame:
    """List the images; see `paper.Reader`."""
    base = _base(root)
    ending = need("cifar10", TREE, base, "data_batch_1", "data_batch_1.bin").suffix
    classes = _classes(base)
    images: list[Image] = []
    damaged: list[Image] = []
    for split, name in BATCHES:
        file = need("cifar10", TREE, base, name + ending)
        try:
            batch = _held.get(file, _load)
        except OSError as error:
            log.warning("%s cannot be read (%s): it counts as one image that cannot be read", file, error.strerror)
            damaged.append(Image(f"{split}/{name}", None, split))
            continue
        labels = [classes[label] for label in batch.labels.tolist()]
        images += [Image(f"{split}/{name}/{number:05d}", label, split) for number, label in enumerate(labels)]
    return listing(images, damaged=damaged)


@functools.lru_cache(64)  # called for every image
def _batch_file(root: Path, name: str) -> Path:
    file = have(_base(root), name, f"{name}.bin")
    if file is None:
        raise unreadable("the batch is gone")
    return file


def read(root: Path, key: str) -> RawImage:
    """Read one image."""
    _, name, *number = key.split("/")
    file = _batch_file(root, name)
    batch = _held.get(file, _load)
    if not number:
        raise unreadable(f"{name} could not be read when the set was listed, now it can: audit again")
    row = int(number[0])
    if row >= len(batch.data) or (batch.cut and row == len(batch.data) - 1):
        raise unreadable(f"{file.name} is cut off in image {row}")
    planes = batch.data[row].reshape(3, SIDE, SIDE)
    return RawImage(np.ascontiguousarray(planes.transpose(1, 2, 0)), "cifar", "RGB", SIDE, SIDE)
