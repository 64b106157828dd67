"""CIFAR-100 and STL-10, in files similar to CIFAR-10's: CIFAR-100's Python or binary files, STL-10's binary files."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from dataprops.imaging.decode import RawImage
from dataprops.sources.paper.cifar import Batch, pixels_and_labels
from dataprops.sources.paper.layout import Image, base_of, have, listing, need, unreadable
from dataprops.sources.paper.unpickle import load_arrays
from dataprops.util.budget import read_whole
from dataprops.util.cache import FileCache

log = logging.getLogger(__name__)

TREE_100 = """\
    PATH/cifar-100-python/train, test, meta
    or  PATH/cifar-100-binary/train.bin, test.bin, fine_label_names.txt, coarse_label_names.txt
    (PATH may be the inner folder)
"""
TREE_STL = """\
    PATH/stl10_binary/train_X.bin, train_y.bin, test_X.bin, test_y.bin, unlabeled_X.bin, class_names.txt
    (PATH may be the inner folder; the unlabelled images may be absent)
"""
RULES_100: dict[str, tuple[str, ...]] = {"label": ("fine", "coarse")}
LABELS = {"fine": 1, "coarse": 0}  # offset in a binary record, bytes
SIDE, STL_SIDE = 32, 96
VALUES, STL_VALUES = 3 * SIDE**2, 3 * STL_SIDE**2
_held: FileCache[Batch] = FileCache()


def _base_100(root: Path) -> Path:
    folders = ("cifar-100-python", "cifar-100-binary")
    return base_of(root, folders, ("train.bin", "meta"))


def _load_100(file: Path, label: str) -> Batch:
    """Pixels of a file, and its labels of the given kind."""
    data = read_whole(file)
    if file.suffix != ".bin":
        return pixels_and_labels(data, file.name, f"{label}_labels")
    record = 2 + VALUES
    count = -(-len(data) // record)
    padded = np.zeros(count * record, np.uint8)
    padded[: len(data)] = np.frombuffer(data, np.uint8)
    rows = padded.reshape(count, record)
    return Batch(rows[:, LABELS[label]], rows[:, 2:], len(data) % record)


def _names(base: Path, label: str) -> list[str]:
    """Class names from the dataset's metadata; empty without them."""
    text, meta = base / f"{label}_label_names.txt", base / "meta"
    if text.is_file():
        return text.read_text("latin1").split()
    try:
        given = load_arrays(read_whole(meta)).get(f"{label}_label_names")
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read (%s): classes are called by their numbers", meta, error)
        given = None
    return [name.decode("latin1") if isinstance(name, bytes) else str(name) for name in given or ()]


def scan_100(root: Path, rules: Mapping[str, str]) -> pd.DataFrame:
    """List the images of CIFAR-100; see `paper.Reader`."""
    base = _base_100(root)
    need("cifar100", TREE_100, base, "train.bin", "train")
    names = _names(base, rules["label"])
    images: list[Image] = []
    damaged: list[Image] = []
    for split in ("train", "test"):
        file = need("cifar100", TREE_100, base, f"{split}.bin", split)
        try:
            labels = _load_100(file, rules["label"]).labels.tolist()
        except OSError as error:
            log.warning("%s cannot be read (%s): it counts as one image that cannot be read", file, error.strerror)
            damaged.append(Image(split, None, split))
            continue
        called = [names[label] if label < len(names) else str(label) for label in labels]
        images += [Image(f"{split}/{number:05d}", label, split) for number, label in enumerate(called)]
    return listing(images, damaged=damaged)


def read_100(root: Path, key: str) -> RawImage:
    """Read one image of CIFAR-100."""
    split, _, number = key.partition("/")
    file = have(_base_100(root), f"{split}.bin", split)
    if file is None:
        raise unreadable("the file is gone")
    batch = _held.get(file, lambda file: (found := _load_100(file, "fine"), found.data.nbytes))
    if not number or int(number) >= len(batch.data) or (batch.cut and int(number) == len(batch.data) - 1):
        raise unreadable(f"{file.name} is cut off, or could not be read when the set was listed")
    planes = batch.data[int(number)].reshape(3, SIDE, SIDE)
    return RawImage(np.ascontiguousarray(planes.transpose(1, 2, 0)), "cifar", "RGB", SIDE, SIDE)


def _base_stl(root: Path) -> Path:
    return base_of(root, ("stl10_binary",), ("train_X.bin",))


def scan_stl(root: Path, rules: Mapping[str, str]) -> pd.DataFrame:
    """List the images of STL-10; see `paper.Reader`."""
    base = _base_stl(root)
    names: list[str] = []
    if (base / "class_names.txt").is_file():
        names = (base / "class_names.txt").read_text("latin1").split()
    images: list[Image] = []
    for split in ("train", "test", "unlabeled"):
        if split == "unlabeled" and have(base, "unlabeled_X.bin") is None:
            continue
        count = -(-need("stl10", TREE_STL, base, f"{split}_X.bin").stat().st_size // STL_VALUES)
        labels: list[str | None] = [None] * count
        if split != "unlabeled":
            codes = list(read_whole(need("stl10", TREE_STL, base, f"{split}_y.bin")))[:count]  # 1-based
            told = [names[code - 1] if 0 < code <= len(names) else str(code) for code in codes]
            labels = [*told, *[None] * (count - len(told))]
        images += [Image(f"{split}/{number:06d}", label, split) for number, label in enumerate(labels)]
    return listing(images)


def read_stl(root: Path, key: str) -> RawImage:
    """Read one image of STL-10, which is stored column by column."""
    split, _, number = key.partition("/")
    with (_base_stl(root) / f"{split}_X.bin").open("rb") as file:
        file.seek(int(number) * STL_VALUES)
        data = file.read(STL_VALUES)
    if len(data) < STL_VALUES:
        raise unreadable(f"{split}_X.bin is cut off in image {int(number)}")
    planes = np.frombuffer(data, np.uint8).reshape(3, STL_SIDE, STL_SIDE)
    return RawImage(np.ascontiguousarray(planes.transpose(2, 1, 0)), "stl", "RGB", STL_SIDE, STL_SIDE)
