"""HDF5: a dataset of images and a dataset of labels; see `arraysets` for their names.

Images are arrays, or the bytes of image files (variable-length uint8). A file of images alone takes its labels from the file beside
it that is named alike but for y, labels or targets in place of x, images or data (PatchCamelyon), or from ``--rule labels=FILE``.
A folder is all of its files; names tell the splits. What leads out of the file (external links, external storage, virtual datasets)
is not followed: a file that was sent here must not make others readable.

A packed chunk of many images is inflated once in each pass: images are read in the order of the file, and what they share is kept.
"""

from __future__ import annotations

import atexit
import errno
import functools
import math
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
from dataprops.sources.containers.members import LARGE
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
LABELS = 2**30  # bytes of an array of labels
CHUNK = 2**30  # bytes of the packed chunks that an image lies in, which are inflated at once
PACKED = 1100  # times that zeros are packed by deflate, and somewhat more
DEPTH = 32
SLOTS = 521  # of HDF5's table of chunks, at least
KEPT = 2**20  # bytes of chunks that it keeps of any open array
OPEN = 16  # files that are kept open
_files: Cache[Any] = Cache(OPEN)
_held: Cache[_Held] = Cache(FILES_LIMIT, lambda held: max(held.inflated, FILES_LIMIT // OPEN))


def _open(location: str, options: SourceOptions) -> Any:
    """The open file, kept; h5py serialises its threads.

    Raises
    ------
    OSError
        If it is none.
    """
    import h5py

    _closed_at_exit()  # after h5py is loaded: what is registered last runs first
    access = access_of(options)
    return _files.get(
        readers.identity(location, access), lambda: h5py.File(open_reader(location, access).file(2**18), "r")
    )


@functools.cache
def _closed_at_exit() -> None:
    """Close what is kept while Python still runs: HDF5 would after it, read through a Python object, and end the process (SIGSEGV)."""
    atexit.register(_close)


def _close() -> None:
    opened, kept = _files.values, _held.values  # noqa: PD011
    for file in [*opened.values(), *(held.file for held in kept.values())]:
        with suppress(Exception):
            file.close()


def _safe(node: Any) -> bool:
    """Whether a dataset's values lie in the file itself."""
    return node.external is None and not node.is_virtual


def _datasets(file: Any) -> list[Named]:
    return _walked(file)[0]


def _walked(file: Any) -> tuple[list[Named], list[str]]:
    """The arrays of a file, and the names of what leads out of it, or may lead in circles."""
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
    """Refuse an array that is all but unwritten: a kilobyte of HDF5 may declare a million of large images.

    Raises
    ------
    DatapropsError
        If it holds more than any packing explains.
    """
    size, stored = images.size * images.dtype.itemsize, images.id.get_storage_size()
    if size > LARGE and size > PACKED * stored:
        raise DatapropsError(
            f"{redacted(location)}: {images.name.lstrip('/')} declares {size:,} bytes, of which {stored:,} are stored:"
            " most of it was never written; name another array, or write it whole"
        )


def _inflated(dataset: Any) -> int:
    """Bytes of the packed chunks that one image lies in; 0 if none are packed."""
    if not dataset.chunks or not dataset.id.get_create_plist().get_nfilters():
        return 0
    across = math.prod(-(-side // part) for side, part in zip(dataset.shape[1:], dataset.chunks[1:], strict=True))
    return across * math.prod(dataset.chunks) * dataset.dtype.itemsize


def _check_chunks(dataset: Any) -> None:
    """Claim the memory of the chunks that an image lies in.

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
    """An array that is kept open, with its file; `inflated` are bytes of the packed chunks of one image."""

    file: Any
    dataset: Any
    inflated: int
    shares: bool  # whether a packed chunk holds several images


def _dataset(location: str, name: str, options: SourceOptions) -> _Held:
    """An array, kept open with room for the packed chunks of one image.

    Raises
    ------
    OSError, KeyError, ValueError, RuntimeError
        If there is none, or it cannot be read.
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
    access.set_chunk_cache(slots, max(KEPT, inflated), 0.75)  # what was read to its end goes first
    shares = chunks[0] > 1
    del dataset  # while it is open, HDF5 opens it with the room that it has
    return _Held(file, h5py.Dataset(h5py.h5d.open(file.id, name.encode(), access)), inflated, shares)


def _chosen(location: str, file: Any, options: SourceOptions) -> list[arraysets.Part]:
    """The parts of a file; see `arraysets.choose`."""
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
    """List the images of an HDF5 file, or of those of a folder; see `sources.Source`.

    Raises
    ------
    DatapropsError
        If it cannot be read, or it is not clear which dataset holds the images.
    """
    if not is_url(location) and Path(location).is_dir():
        return _folder(location, options)
    return _file(location, options)


def _folder(location: str, options: SourceOptions) -> pd.DataFrame:
    """All files of a folder that hold images; files of labels alone belong to them."""
    names = sorted(p.name for p in Path(location).iterdir() if p.suffix.lower() in SUFFIXES and p.name[0] != ".")
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
                decisions += [Decision("labels", f"of {beside}", "it is named alike", "--rule labels=FILE")]
    except (OSError, KeyError, ValueError, RuntimeError) as error:  # what h5py raises for damaged files
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
    """A part with labels of another file.

    Raises
    ------
    DatapropsError
        If there is not one array of as many values.
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
    """One image."""
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
    """The file, the array and the row of a key."""
    name, row = key_parts(key)
    if not is_url(location) and Path(location).is_dir():
        file, _, name = name.partition("/")
        location = str(Path(location) / file)
    return location, name, row


def order(location: str, keys: Sequence[str], options: SourceOptions) -> list[int] | None:
    """Positions of keys in the order of the files, where several images lie in one packed chunk; else None."""
    places = [_place(location, key) for key in keys]
    if any(_shares(file, name, options) for file, name in {place[:2] for place in places}):
        return sorted(range(len(keys)), key=lambda i: places[i])
    return None


def _shares(location: str, name: str, options: SourceOptions) -> bool:
    try:
        return _dataset(location, name, options).shares
    except (KeyError, ValueError, RuntimeError, OSError):  # reading it says why
        return False


def stream(
    location: str, keys: Sequence[str], options: SourceOptions
) -> Iterator[tuple[str, bytes | RawImage | OSError]]:
    """The images of keys, which are in the order that `order` gives."""
    for key in keys:
        try:
            yield key, read(location, key, options)
        except OSError as error:
            yield key, error


def version_tokens(location: str, keys: Sequence[str], options: SourceOptions) -> list[int]:
    """A number for each image that changes when its file does."""
    several = not is_url(location) and Path(location).is_dir()
    places = [str(Path(location) / key.partition("/")[0]) if several else location for key in keys]
    return filesystems.version_tokens(places, access_of(options))
