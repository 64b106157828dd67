"""MNIST: idx files, optionally gzipped. Ten digits, of which the paper draws two."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.imaging.decode import RawImage
from dataprops.sources.paper.layout import Image, base_of, listing, need, unreadable
from dataprops.sources.remote.readers import open_reader
from dataprops.util import budget
from dataprops.util.cache import FileCache

TREE = """\
    PATH/train-images-idx3-ubyte[.gz]    PATH/train-labels-idx1-ubyte[.gz]
    PATH/t10k-images-idx3-ubyte[.gz]     PATH/t10k-labels-idx1-ubyte[.gz]     (one of the two halves may be absent)
"""
RULES: dict[str, tuple[str, ...]] = {}
SPLITS = {"train": "train", "test": "t10k"}
FOLDERS = ("raw", "MNIST/raw")
HEAD = 4 + 4 * 255  # maximum size of a header, bytes
LARGEST_SET = 2**31  # maximum uncompressed size of an image file, bytes; the largest variant (EMNIST) has 0.6e9


class _OnDisk:
    """The bytes of a file from `start` on, read on demand: with a memory map, truncating the file would crash the process."""

    def __init__(self, file: Path, start: int = 0) -> None:
        self._reader, self._start = open_reader(str(file)), start

    def __len__(self) -> int:
        return max(0, self._reader.size - self._start)

    def __getitem__(self, part: slice) -> np.ndarray:
        first, last, _ = part.indices(len(self))
        return np.frombuffer(self._reader.range(self._start + first, self._start + max(first, last)), np.uint8)


class Idx(NamedTuple):
    """An idx file: shape from the header, and the available data."""

    shape: tuple[int, ...]
    data: np.ndarray | _OnDisk


_held: FileCache[Idx] = FileCache()


def _names(split: str, what: str) -> tuple[str, ...]:
    kind = {"images": "idx3", "labels": "idx1"}[what]
    stems = [f"{SPLITS[split]}-{what}{between}{kind}-ubyte" for between in "-."]
    names = [f"{stem}{end}" for stem in stems for end in ("", ".gz")]
    # some copies have each file in a folder of the same name
    return (*names, *(f"{stem}/{name}" for stem in stems for name in names))


def _file(base: Path, split: str, what: str) -> Path | None:
    """The file of a split's images or labels; folders with that name are ignored."""
    return next((base / name for name in _names(split, what) if (base / name).is_file()), None)


def _contents(file: Path) -> np.ndarray | _OnDisk:
    """Uncompressed bytes of a file up to any corrupt part, and at most as many as its header declares."""
    if file.suffix != ".gz":
        return _OnDisk(file)
    inflate = zlib.decompressobj(wbits=31)  # gzip; unlike the gzip module, returns the data before a truncation
    packed = budget.read_whole(file)
    try:
        head = inflate.decompress(packed, HEAD)
        rest = max(0, _promised(head, file) - len(head))
        # max_length=0 means no limit
        more = inflate.decompress(inflate.unconsumed_tail, rest) if rest else b""
    except zlib.error as error:
        raise unreadable(f"the archive {file.name} is damaged: {error}") from None
    return np.frombuffer(head + more, np.uint8)


def _promised(head: bytes, file: Path) -> int:
    """Size of a file as declared by its header, bytes; an invalid header is reported later."""
    if len(head) < 4 or len(head) < 4 + 4 * head[3]:
        return 0
    axes = np.frombuffer(head, ">u4", head[3], 4)
    size = 4 + 4 * head[3] + int(np.prod(axes, dtype=object))
    if size > LARGEST_SET:
        raise unreadable(f"{file.name} declares {size:,} bytes, more than such a file should have ({LARGEST_SET:,})")
    budget.need(len(head) + 2 * size)
    return size


def _load(file: Path) -> tuple[Idx, int]:
    data = _contents(file)
    head = data[:4].tobytes()
    if len(head) < 4 or head[:3] != b"\0\0\x08" or len(data) < 4 + 4 * head[3]:
        raise unreadable(f"{file.name} is not an idx file of bytes")
    start = 4 + 4 * head[3]
    shape = tuple(int(n) for n in data[4:start].view(">u4"))
    return (
        (Idx(shape, _OnDisk(file, start)), 0) if isinstance(data, _OnDisk) else (Idx(shape, data[start:]), data.nbytes)
    )


def _open(file: Path, axes: int) -> Idx:
    try:
        idx = _held.get(file, _load)
    except OSError as error:
        raise DatapropsError(f"{file} cannot be used: {error.strerror}: download it again") from error
    if len(idx.shape) != axes:
        raise DatapropsError(f"{file} has {len(idx.shape)} axes; expected {axes}")
    if 0 in idx.shape[1:]:
        raise DatapropsError(f"{file} holds images of {idx.shape[1]} x {idx.shape[2]} pixels")
    return idx


def _base(root: Path) -> Path:
    return base_of(root, FOLDERS, (*_names("train", "images"), *_names("test", "images")))


def scan(root: Path, rules: Mapping[str, str]) -> pd.DataFrame:
    """List the digits; see `paper.Reader`."""
    base = _base(root)
    images: list[Image] = []
    there = [split for split in SPLITS if _file(base, split, "images") is not None]
    for split in there or ["train"]:
        pictures_file = _file(base, split, "images") or need("mnist", TREE, base, *_names(split, "images"))
        labels_file = _file(base, split, "labels") or need("mnist", TREE, base, *_names(split, "labels"))
        pictures, labels = _open(pictures_file, 3), _open(labels_file, 1)
        if pictures.shape[0] != labels.shape[0]:
            raise DatapropsError(
                f"{pictures_file} holds {pictures.shape[0]} images and {labels_file} {labels.shape[0]} labels: they do not"
                " belong together"
            )
        if len(labels.data) < labels.shape[0]:
            raise DatapropsError(
                f"{labels_file} is cut off after {len(labels.data)} of {labels.shape[0]} labels: download it again"
            )
        digits = labels.data[: labels.shape[0]].tolist()
        images += [Image(f"{split}/{number:05d}", str(digit), split) for number, digit in enumerate(digits)]
    return listing(images)


@functools.lru_cache(64)  # called for every image
def _images_file(root: Path, split: str) -> Path:
    file = _file(_base(root), split, "images")
    if file is None:
        raise unreadable("the file of the images is gone")
    return file


def read(root: Path, key: str) -> RawImage:
    """Read one digit."""
    split, _, number = key.partition("/")
    file = _images_file(root, split)
    idx = _held.get(file, _load)
    count, height, width = idx.shape
    start = int(number) * height * width
    pixels = np.array(idx.data[start : start + height * width])
    if len(pixels) < height * width:
        there = len(idx.data) // (height * width)
        raise unreadable(f"{file.name} is cut off after {there} of {count} images")
    return RawImage(pixels.reshape(height, width), "idx", "L", width, height)
