"""HDF5: a dataset of images and a dataset of labels; see `arraysets` for their names.

Images are arrays, or the bytes of image files (variable-length uint8). A file without labels takes them from the file beside it
with the same name but y, labels or targets in place of x, images or data (PatchCamelyon), or from ``--rule labels=FILE``. A folder
means all its files, with splits from their names. References out of the file (external links, external storage, virtual datasets)
are not followed: an untrusted file must not expose others.

A compressed chunk of many images is decompressed once per pass: images are read in file order, and shared chunks are cached.
"""

from __future__ import annotations

import atexit
import errno
import functools
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.imaging.decode import RawImage
from dataprops.sources.account import COMPANION, Decision, told
from dataprops.sources.containers import arraysets
from dataprops.sources.containers.arraysets import Named, key_parts
from dataprops.sources.containers.members import LARGE, shards_of
from dataprops.sources.containers.streams import one_by_one
from dataprops.sources.labels import words_of
from dataprops.sources.remote import filesystems, readers
from dataprops.sources.remote.connections import access_of
from dataprops.sources.remote.readers import open_reader
from dataprops.sources.splitnames import SPLITS
from dataprops.sources.table import SourceOptions, given_rules, image_table
from dataprops.util.budget import in_words, need
from dataprops.util.cache import FILES_LIMIT, Cache
from dataprops.util.guard import said
from dataprops.util.redact import is_url, redacted

SUFFIXES = (".h5", ".hdf5", ".he5")
_SUFFIX = re.compile(rf"(?:{'|'.join(map(re.escape, SUFFIXES))})(?=/|$)", re.IGNORECASE)
LABELS = 2**30  # maximum size of a label array, bytes
CHUNK = 2**30  # maximum uncompressed size of the chunks that contain an image, bytes
PACKED = 1100  # slightly above deflate's maximum compression ratio
DEPTH = 32
SLOTS = 521  # minimum hash-table slots of HDF5's chunk cache
KEPT = 2**20  # minimum size of HDF5's chunk cache, bytes
OPEN = 16  # maximum number of open files
_files: Cache[Any] = Cache(OPEN)
_held: Cache[_Held] = Cache(FILES_LIMIT, lambda held: max(held.inflated, FILES_LIMIT // OPEN))


def _open(location: str, options: SourceOptions) -> Any:
    """The open file, cached; h5py serialises access by threads.

    Raises
    ------
    OSError
        If it is not HDF5.
    """
    import h5py

    _closed_at_exit()  # after importing h5py: atexit handlers run in reverse order
    access = access_of(options)
    return _files.get(
        readers.identity(location, access), lambda: h5py.File(open_reader(location, access).file(2**18), "r")
    )


@functools.cache
def _closed_at_exit() -> None:
    """Close cached files before Python exits: afterwards, HDF5 would read through a Python object and crash (SIGSEGV)."""
    atexit.register(_close)


def _close() -> None:
    opened, kept = _files.values, _held.values  # noqa: PD011
    for file in [*opened.values(), *(held.file for held in kept.values())]:
        with suppress(Exception):
            file.close()


def _safe(node: Any) -> bool:
    """Whether a dataset's values are stored in the file itself."""
    return node.external is None and not node.is_virtual


def _datasets(file: Any) -> list[Named]:
    return _walked(file)[0]


def _walked(file: Any) -> tuple[list[Named], list[str]]:
    """The arrays of a file, and the names of links that lead out of it or may be circular."""
    import h5py

    found: list[Named] = []
    away: list[str] = []
    waiting = [(file, "", 0)]
    seen = set()
    while waiting:
        group, path, depth = waiting.pop()
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                away.append(f"{path}{name}")
                continue
            node = group[name]
            if isinstance(node, h5py.Group):
                address = h5py.h5o.get_info(node.id).addr
                if depth < DEPTH and address not in seen:
                    seen.add(address)
                    waiting.append((node, f"{path}{name}/", depth + 1))
            elif isinstance(node, h5py.Dataset) and not _safe(node):
                away.append(f"{path}{name}")
            elif isinstance(node, h5py.Dataset) and node.shape:
                encoded = len(node.shape) == 1 and h5py.check_vlen_dtype(node.dtype) == np.uint8
                found.append(Named(f"{path}{name}", node.shape, node.dtype, encoded))
    return sorted(found, key=lambda array: array.name), sorted(away)


def _check_written(location: str, images: Any) -> None:
    """Reject an array that is mostly unwritten: a kilobyte of HDF5 may declare a million large images.

    Raises
    ------
    DatapropsError
        If its declared size exceeds what compression can explain.
    """
    size, stored = images.size * images.dtype.itemsize, images.id.get_storage_size()
    if size > LARGE and size > PACKED * stored:
        raise DatapropsError(
            f"{redacted(location)}: {images.name.lstrip('/')} declares {size:,} bytes, of which {stored:,} are stored:"
            " most of it was never written; name another array, or write it whole"
        )


def _inflated(dataset: Any) -> int:
    """Uncompressed size of the compressed chunks that contain one image, bytes; 0 if uncompressed."""
    if not dataset.chunks or not dataset.id.get_create_plist().get_nfilters():
        return 0
    across = math.prod(-(-side // part) for side, part in zip(dataset.shape[1:], dataset.chunks[1:], strict=True))
    return across * math.prod(dataset.chunks) * dataset.dtype.itemsize


def _check_chunks(dataset: Any) -> None:
    """Reserve memory for the chunks that contain an image.

    Raises
    ------
    OSError
        If they are too large.
    OverBudget
        See `need`.
    """
    inflated = _inflated(dataset)
    if inflated > CHUNK:
        own = ", ".join(map(str, (1, *dataset.shape[1:])))
        raise OSError(
            errno.EFBIG,
            f"each image lies in packed chunks of {in_words(inflated)} ({in_words(CHUNK)} are read, more may be a"
            f" decompression bomb); write the array with chunks=({own})",
        )
    need(inflated)


class _Held(NamedTuple):
    """A cached open array, with its file; `inflated` is the uncompressed size of the chunks of one image, bytes."""

    file: Any
    dataset: Any
    inflated: int
    shares: bool  # whether a compressed chunk holds several images


def _dataset(location: str, name: str, options: SourceOptions) -> _Held:
    """An open array, cached, with a chunk cache large enough for one image.

    Raises
    ------
    OSError, KeyError, ValueError, RuntimeError
        If it does not exist, or cannot be read.
    """
    key = readers.identity(location, access_of(options)), name
    return _held.get(key, lambda: _opened(_open(location, options), name))


def _opened(file: Any, name: str) -> _Held:
    import h5py

    dataset: Any = file[name]
    if not isinstance(dataset, h5py.Dataset):
        raise OSError(errno.ENOENT, "there is no such array")
    if not _safe(dataset):
        raise OSError(errno.EACCES, "the dataset lies in another file, which is not followed")
    _check_chunks(dataset)
    inflated = _inflated(dataset)
    if not inflated:
        return _Held(file, dataset, inflated, shares=False)
    chunks: tuple[int, ...] = dataset.chunks or ()
    slots = max(SLOTS, 10 * inflated // (math.prod(chunks) * dataset.dtype.itemsize) + 1)
    access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    access.set_chunk_cache(slots, max(KEPT, inflated), 0.75)  # evict fully read chunks first
    shares = chunks[0] > 1
    del dataset  # HDF5 would reuse the chunk cache of an open dataset
    return _Held(file, h5py.Dataset(h5py.h5d.open(file.id, name.encode(), access)), inflated, shares)


def _chosen(location: str, file: Any, options: SourceOptions) -> list[arraysets.Part]:
    """The selected arrays of a file; see `arraysets.choose`."""
    known, away = _walked(file)
    try:
        return arraysets.choose(location, known, options)
    except DatapropsError as error:
        if not away:
            raise
        raise DatapropsError(
            f"{error}; links, virtual and external arrays are not followed: {', '.join(away[:4])}"
        ) from None


def scan(location: str, options: SourceOptions) -> pd.DataFrame:
    """List the images of an HDF5 file, or of those in a folder; see `sources.Source`.

    Raises
    ------
    DatapropsError
        If it cannot be read, or the choice of the image dataset is ambiguous.
    """
    if not is_url(location) and Path(location).is_dir():
        return _folder(location, options)
    return _file(location, options)


def _folder(location: str, options: SourceOptions) -> pd.DataFrame:
    """All files in a folder that hold images, with labels from files that hold only labels."""
    _, names = shards_of(location, SUFFIXES, access_of(options))
    used = {beside for name in names if (beside := arraysets.beside(name, names)) is not None}
    columns: dict[str, list] = {name: [] for name in ("key", "label", "split", "group")}
    left_out: dict[str, str] = {}
    decisions: list[Decision] = []
    for name in names:
        if name in used:
            left_out[name] = COMPANION
            continue
        table = _file(str(Path(location) / name), options)
        split = next((SPLITS[word] for word in words_of(name) if word in SPLITS), None)
        columns["key"] += [f"{name}/{key}" for key in table["key"]]
        columns["split"] += [own or split for own in table["split"]]
        for column in ("label", "group"):
            columns[column] += table[column].tolist()
        decisions += [Decision(**made) for made in table.attrs["decisions"]]
    if not columns["key"]:
        raise DatapropsError(f"{location} holds no HDF5 files (looked for {' '.join(SUFFIXES)})")
    return told(image_table(**columns), left_out, (), decisions)


def _file(location: str, options: SourceOptions) -> pd.DataFrame:
    rules = given_rules(options)
    other = rules.get("labels", "")
    named = other.lower().endswith(SUFFIXES)
    plain = options
    if named:
        plain = replace(options, rules=tuple(rule for rule in options.rules if not rule.startswith("labels=")))
    try:
        file = _open(location, options)
        parts = _chosen(location, file, plain)
        for part in parts:
            _check_written(location, file[part.images.name])
            _check_chunks(file[part.images.name])
        texts = {
            name: arraysets.label_texts(
                location, name, _texts(file[name]), _column(options) if name == part.labels else ""
            )
            for part in parts
            for name in (part.labels, part.groups)
            if name
        }
        known = _datasets(file)
        decisions = [*arraysets.told_shapes(parts, known), *arraysets.told_others(parts, known, plain)]
        if len(parts) == 1 and parts[0].labels is None and not is_url(location):
            path = Path(location)
            beside = other if named else arraysets.beside(path.name, [entry.name for entry in path.parent.iterdir()])
            if beside is not None:
                parts, more = _with_labels(path.parent / beside, beside, parts[0], options)
                texts |= more
                decisions += [Decision("labels", f"of {beside}", "its name is similar", "--rule labels=FILE")]
    except (OSError, KeyError, ValueError, RuntimeError) as error:  # raised by h5py for corrupt files
        if isinstance(error, OSError) and error.errno == errno.EFBIG:
            raise DatapropsError(f"{redacted(location)}: {error.strerror}") from None
        raise DatapropsError(
            f"{redacted(location)} cannot be read as HDF5: {redacted(said(error))}; is it whole?"
        ) from None
    table = arraysets.part_table(location, parts, texts, options)
    return told(table, {}, (), decisions)


def _with_labels(
    file: Path, name: str, part: arraysets.Part, options: SourceOptions
) -> tuple[list[arraysets.Part], dict[str, list[str | None]]]:
    """A part with labels from another file.

    Raises
    ------
    DatapropsError
        If it does not have exactly one array with as many values.
    """
    other = _open(str(file), options)
    n = part.images.shape[0]
    fitting = [array for array in _datasets(other) if array.shape and array.shape[0] == n]
    called = [array for array in fitting if arraysets.LABELS & set(words_of(array.name))]
    chosen = called if len(called) == 1 else fitting
    if len(chosen) != 1:
        raise DatapropsError(
            f"{file} holds {len(fitting)} arrays of {n:,} values; expected one label for each of the images of {part.images.name}"
        )
    texts = arraysets.label_texts(str(file), chosen[0].name, _texts(other[chosen[0].name]), _column(options))
    return [part._replace(labels=name)], {name: texts}


def _column(options: SourceOptions) -> str:
    return given_rules(options).get("column", "")


def _texts(dataset: Any) -> np.ndarray:
    import h5py

    size = math.prod(dataset.shape) * max(1, dataset.dtype.itemsize)
    if size > LABELS:
        raise ValueError(f"{dataset.name} has {size:,} bytes, too many for labels")
    if h5py.check_ref_dtype(dataset.dtype):
        raise ValueError(f"{dataset.name} holds references to other arrays, which are no labels")
    return dataset.asstr()[()] if h5py.check_string_dtype(dataset.dtype) else dataset[()]


def read(location: str, key: str, options: SourceOptions) -> bytes | RawImage:
    """Read one image."""
    location, name, row = _place(location, key)
    try:
        dataset = _dataset(location, name, options).dataset
        value = dataset[row]
    except (KeyError, ValueError, RuntimeError, OSError) as error:
        if getattr(error, "strerror", None):
            raise
        raise OSError(errno.EIO, f"the HDF5 file is damaged: {said(error)}") from None
    if dataset.ndim == 1:
        return np.asarray(value, np.uint8).tobytes()
    named = arraysets.shaped(Named(name, dataset.shape, dataset.dtype), options)
    return arraysets.as_image(value.reshape(named.shape[1:]))


def _place(location: str, key: str) -> tuple[str, str, int]:
    """File, array and row of a key."""
    name, row = key_parts(key)
    if _is_folder(location):
        end = _end_of_file(location, name)
        location, name = str(Path(location) / name[:end]), name[end:].removeprefix("/")
    return location, name, row


def _is_folder(location: str) -> bool:
    return not is_url(location) and Path(location).is_dir()


def _end_of_file(location: str, key: str) -> int:
    """Length of the path of the file that a key begins with; folders may be called x.h5, too."""
    ends = [at.end() for at in _SUFFIX.finditer(key)]
    return next((end for end in ends[:-1] if not (Path(location) / key[:end]).is_dir()), ends[-1] if ends else len(key))


def order(location: str, keys: Sequence[str], options: SourceOptions) -> list[int] | None:
    """Positions of the keys in file order if compressed chunks hold several images, otherwise None."""
    places = [_place(location, key) for key in keys]
    if any(_shares(file, name, options) for file, name in {place[:2] for place in places}):
        return sorted(range(len(keys)), key=lambda i: places[i])
    return None


def _shares(location: str, name: str, options: SourceOptions) -> bool:
    try:
        return _dataset(location, name, options).shares
    except (KeyError, ValueError, RuntimeError, OSError):  # reported when it is read
        return False


def stream(
    location: str, keys: Sequence[str], options: SourceOptions
) -> Iterator[tuple[str, bytes | RawImage | OSError]]:
    """Read the images of keys in the order of `order`."""
    return one_by_one(keys, lambda key: read(location, key, options))


def version_tokens(location: str, keys: Sequence[str], options: SourceOptions) -> list[int]:
    """A number per image that changes when its file does."""
    if not _is_folder(location):
        return filesystems.version_tokens([location] * len(keys), access_of(options))
    files = [key[: _end_of_file(location, key)] for key in keys]
    place = {file: str(Path(location) / file) for file in dict.fromkeys(files)}
    return filesystems.version_tokens([place[file] for file in files], access_of(options))
