"""Folders of .npy or .npz files with one image each; an .npz may also store its label.

Nothing is unpickled: object arrays are rejected.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from dataprops.imaging.decode import RawImage
from dataprops.sources import arrays
from dataprops.util.budget import LARGEST, need
from dataprops.util.guard import reason_of

SUFFIXES = (".npy", ".npz")
HEADER = 2**16  # maximum size of an array's header, bytes
LEAST, ENOUGH = 3, 0.9  # minimum number of files, and fraction of them that are images
LONGEST = 8  # maximum aspect ratio; beyond it, an array with one row per image is more likely
LABELS = frozenset({"label", "labels", "y", "target", "class", "cls"})
_DAMAGED = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)


def are_images(files: Sequence[Path]) -> bool:
    """Whether these files hold one image each, judged from an evenly spaced sample."""
    some = files[:: max(1, len(files) // 200)]
    return len(some) >= LEAST and sum(_shape(file) is not None for file in some) >= ENOUGH * len(some)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file, max_header_size=HEADER)
    return shape, dtype


def _is_image(shape: tuple[int, ...], dtype: np.dtype) -> bool:
    """Whether an array has the shape of one image: a plausible aspect ratio, and at most four channels, first or last."""
    if dtype.kind not in "uifb" or len(shape) not in (2, 3):
        return False
    sides = (
        shape if len(shape) == 2 else shape[:2] if shape[-1] in (1, 3, 4) else shape[1:] if shape[0] in (1, 3) else ()
    )
    return len(sides) == 2 and min(sides) > 1 and max(sides) <= LONGEST * min(sides)


def _headers(file: Path) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Shape and dtype of each array in a file."""
    if file.suffix.lower() == ".npy":
        with file.open("rb") as stream:
            return {"": _header(stream)}
    found = {}
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if info.filename.endswith(".npy"):
                with archive.open(info) as stream:
                    found[info.filename.removesuffix(".npy")] = _header(stream)
    return found


def _shape(file: Path) -> tuple[str, tuple[int, ...]] | None:
    """Name and shape of the array in a file that is the only possible image; otherwise None."""
    try:
        found = [(name, shape) for name, (shape, dtype) in _headers(file).items() if _is_image(shape, dtype)]
    except _DAMAGED:
        return None
    return found[0] if len(found) == 1 else None


def _load(file: Path, name: str) -> Any:
    shape, dtype = _headers(file)[name]
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if size > LARGEST:
        raise OSError(0, f"its header declares {size:,} bytes")
    need(size)
    if not name:
        return np.load(file, allow_pickle=False)
    with np.load(file, allow_pickle=False) as held:
        return held[name]


def read(file: Path) -> RawImage:
    """Read the image of a file.

    Raises
    ------
    OSError
        If there is no image, or more than one.
    """
    try:
        found = _shape(file)
        if found is None:
            raise OSError(0, "it holds no array, or several, of the shape of an image")
        pixels = _load(file, found[0])
    except _DAMAGED as error:
        if isinstance(error, OSError):
            raise
        raise OSError(0, f"the file is damaged: {reason_of(error)}") from None
    first = pixels.ndim == 3 and pixels.shape[-1] not in (1, 3, 4)
    return arrays.raw_image(pixels, channels_first=first)


def label(file: Path) -> str | None:
    """The label stored with the image in an .npz."""
    if file.suffix.lower() != ".npz":
        return None
    try:
        name = next(
            (name for name, (shape, _) in _headers(file).items() if name in LABELS and np.prod(shape) == 1), None
        )
        return None if name is None else arrays.label_text(_load(file, name))
    except _DAMAGED:
        return None
