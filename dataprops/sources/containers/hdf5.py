"""HDF5: a dataset of images and a dataset of labels; see `arraysets` for their names.

Images are arrays, or the bytes of image files (variable-length uint8). What leads out of the file (external links, external
storage, virtual datasets) is not followed: a file that was sent here must not make others readable.
"""

from __future__ import annotations

import errno
from typing import Any

import numpy as np
import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.imaging.decode import RawImage
from dataprops.sources.containers import arraysets
from dataprops.sources.containers.arraysets import Named, key_parts
from dataprops.sources.remote import filesystems
from dataprops.sources.remote.filesystems import access_of, open_reader
from dataprops.sources.table import SourceOptions
from dataprops.util.cache import Kept
from dataprops.util.redact import redacted

SUFFIXES = (".h5", ".hdf5", ".he5")
CHUNK = 2**30  # bytes of one chunk, which is inflated at once
DEPTH = 32
_files: Kept[Any] = Kept(16)


def _open(location: str, options: SourceOptions) -> Any:
    """The open file, kept; h5py serialises its threads.

    Raises
    ------
    OSError
        If it is none.
    """
    import h5py

    access = access_of(options)
    return _files.get(
        filesystems.identity(location, access), lambda: h5py.File(open_reader(location, access).file(2**18), "r")
    )


def _safe(node: Any) -> bool:
    """Whether a dataset's values lie in the file itself."""
    return node.external is None and not node.is_virtual


def _datasets(file: Any) -> list[Named]:
    import h5py

    found: list[Named] = []
    waiting = [(file, "", 0)]
    seen = set()
    while waiting:
        group, path, depth = waiting.pop()
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):  # others may lead anywhere, or in circles
                continue
            node = group[name]
            if isinstance(node, h5py.Group):
                address = h5py.h5o.get_info(node.id).addr
                if depth < DEPTH and address not in seen:
                    seen.add(address)
                    waiting.append((node, f"{path}{name}/", depth + 1))
            elif isinstance(node, h5py.Dataset) and node.shape and _safe(node):
                encoded = len(node.shape) == 1 and h5py.check_vlen_dtype(node.dtype) == np.uint8
                found.append(Named(f"{path}{name}", node.shape, node.dtype, encoded))
    return sorted(found, key=lambda array: array.name)


def scan(location: str, options: SourceOptions) -> pd.DataFrame:
    """List the images of an HDF5 file; see `sources.Source`.

    Raises
    ------
    DatapropsError
        If it cannot be read, or it is not clear which dataset holds the images.
    """
    try:
        file = _open(location, options)
        parts = arraysets.choose(location, _datasets(file), options)
        texts = {
            name: arraysets.label_texts(
                location, name, _texts(file[name]), _column(options) if name == part.labels else ""
            )
            for part in parts
            for name in (part.labels, part.groups)
            if name
        }
    except (OSError, KeyError, ValueError, RuntimeError) as error:  # what h5py raises for damaged files
        reason = str(error).partition("\n")[0]
        raise DatapropsError(f"{redacted(location)} cannot be read as HDF5: {redacted(reason)}; is it whole?") from None
    return arraysets.part_table(location, parts, texts, options)


def _column(options: SourceOptions) -> str:
    return dict(rule.partition("=")[::2] for rule in options.rules).get("column", "")


def _texts(dataset: Any) -> np.ndarray:
    import h5py

    return dataset.asstr()[()] if h5py.check_string_dtype(dataset.dtype) else dataset[()]


def read(location: str, key: str, options: SourceOptions) -> bytes | RawImage:
    """One image."""
    name, row = key_parts(key)
    try:
        dataset = _open(location, options)[name]
        if not _safe(dataset):
            raise OSError(errno.EACCES, "the dataset lies in another file, which is not followed")
        if dataset.chunks and np.prod(dataset.chunks, dtype=float) * dataset.dtype.itemsize > CHUNK:
            raise OSError(errno.EFBIG, "a chunk of the dataset is larger than a gibibyte (decompression bomb?)")
        value = dataset[row]
    except (KeyError, ValueError, RuntimeError, OSError) as error:
        if getattr(error, "strerror", None):
            raise
        raise OSError(errno.EIO, f"the HDF5 file is damaged: {str(error).partition(chr(10))[0]}") from None
    if dataset.ndim == 1:
        return np.asarray(value, np.uint8).tobytes()
    return arraysets.as_image(value)


def stamps(location: str, keys: list[str], options: SourceOptions) -> list[int]:
    """A number for each image that changes when the file does."""
    return filesystems.stamps([location], access_of(options)) * len(keys)
