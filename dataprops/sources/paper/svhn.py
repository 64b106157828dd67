"""SVHN, the cropped digits: MATLAB files with X [32, 32, 3, n] and y [n, 1], in which 10 is the digit 0."""

from __future__ import annotations

import logging
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd

from dataprops.imaging.decode import RawImage
from dataprops.sources.paper.layout import Image, have, listing, need, unreadable
from dataprops.util import budget
from dataprops.util.cache import FileCache

log = logging.getLogger(__name__)

TREE = """\
    PATH/train_32x32.mat    PATH/test_32x32.mat    PATH/extra_32x32.mat    (the last two may be absent)
"""
RULES: dict[str, tuple[str, ...]] = {}
SPLITS = ("train", "test", "extra")
DEFLATED = 15  # the type of a deflated variable
PIECE = 2**16
LARGEST_SET = 2**31  # bytes of one file, inflated: the extra digits have 1.6e9
# what scipy raises for damaged files
DAMAGES = (OSError, ValueError, TypeError, KeyError, IndexError, NotImplementedError, zlib.error, EOFError, MemoryError)

_images: FileCache[np.ndarray] = FileCache()
_labels: FileCache[np.ndarray] = FileCache()


def _variable(file: Path, name: str) -> np.ndarray:
    from scipy.io import loadmat

    _refuse_inflation(file)
    try:
        value = loadmat(file, variable_names=[name])[name]
    except DAMAGES as error:
        text = f"has no {name}" if isinstance(error, KeyError) else f"cannot be read: {error}"
        raise unreadable(f"{file.name} {text}") from None
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "ui":
        raise unreadable(f"{file.name}: {name} is not an array of whole numbers")
    return value


def _refuse_inflation(file: Path) -> None:
    """Variables of a MATLAB 5 file are deflated one by one: not before it is known how much they become.

    Raises
    ------
    OSError
        If they become more than any such file holds, or than memory allows.
    """
    size = file.stat().st_size
    with file.open("rb") as data:
        at = 128
        while at + 8 <= size:
            data.seek(at)
            kind, count = struct.unpack("<II", data.read(8))
            if kind == DEFLATED:
                _inflated(data, min(count, size - at - 8), file)
            elif count > LARGEST_SET:
                raise unreadable(
                    f"{file.name} promises {count:,} bytes, more than such a file should have ({LARGEST_SET:,})"
                )
            at += 8 + count
    budget.need(2 * size)


def _inflated(data: IO[bytes], packed: int, file: Path) -> None:
    inflate, total = zlib.decompressobj(), 0
    while packed > 0 and not inflate.eof:
        piece = data.read(min(packed, PIECE))
        packed -= len(piece)
        if not piece:
            break
        while piece and not inflate.eof:
            total += len(inflate.decompress(piece, 16 * PIECE))
            piece = inflate.unconsumed_tail
            if total > LARGEST_SET:
                raise unreadable(f"{file.name} inflates to more than {LARGEST_SET:,} bytes (decompression bomb?)")
    budget.need(2 * total)


def _load_labels(file: Path) -> tuple[np.ndarray, int]:
    from scipy.io import whosmat

    labels = _variable(file, "y").reshape(-1).astype(np.int64)
    if labels.size and not (labels.min() >= 0 and labels.max() <= 10):
        raise unreadable(f"{file.name} holds labels from {labels.min()} to {labels.max()}; expected 1 to 10")
    try:
        shapes = {name: shape for name, shape, _ in whosmat(file)}
    except DAMAGES as error:
        raise unreadable(f"{file.name} cannot be read: {error}") from None
    shape = shapes.get("X", ())
    if len(shape) != 4 or shape[:3] != (32, 32, 3):
        raise unreadable(f"{file.name}: X has shape {list(shape)}; expected [32, 32, 3, n]")
    if shape[3] != len(labels):
        raise unreadable(f"{file.name} holds {shape[3]} images and {len(labels)} labels")
    return labels % 10, labels.nbytes


def _load_images(file: Path) -> tuple[np.ndarray, int]:
    pixels = _variable(file, "X")
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
    """One digit."""
    split, _, number = key.partition("/")
    file = root / f"{split}_32x32.mat"
    if not number:
        _labels.get(file, _load_labels)
        raise unreadable(f"{file.name} could not be read when the set was listed, now it can: audit again")
    # the last axis is the slowest in MATLAB's order: an image is one run of bytes
    pixels = _images.get(file, _load_images)[..., int(number)]
    return RawImage(np.ascontiguousarray(pixels), "mat", "RGB", 32, 32)
