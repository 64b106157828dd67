"""NumPy files, .npy and .npz. Object arrays are rejected: unpickling them would run code.

.npy files, and uncompressed arrays in an .npz, are read by rows. A compressed array (``np.savez_compressed``) has no random
access: it is decompressed sequentially by rows (`stream`), once for the contents and once for decoding, and never held whole.
Labels of an .npy come from another .npy beside it, ``--rule labels=FILE``; for an .npz see `arraysets`.
"""

from __future__ import annotations

import errno
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.imaging.decode import RawImage
from dataprops.sources.account import Decision, told
from dataprops.sources.containers import arraysets
from dataprops.sources.containers.archive_index import plain_reason
from dataprops.sources.containers.arraysets import Named, key_parts
from dataprops.sources.containers.members import LARGE, RATIO, is_safe
from dataprops.sources.containers.streams import one_by_one
from dataprops.sources.remote import filesystems, readers
from dataprops.sources.remote.connections import Access, access_of
from dataprops.sources.remote.readers import Reader, open_reader
from dataprops.sources.table import SourceOptions, given_rules
from dataprops.util.cache import Cache
from dataprops.util.guard import let_through, said
from dataprops.util.redact import is_url, redacted

SUFFIXES = (".npy", ".npz")
HEADER = 2**16  # maximum size of an array's header, bytes
LABELS = 2**30  # maximum size of a label array, bytes
ARRAY = "images"  # name given to the array of an .npy


class Stored(NamedTuple):
    """An array in a file: name, shape and dtype, offset of its values, and the compressed member that contains it, if any."""

    named: Named
    start: int
    fortran: bool
    packed: zipfile.ZipInfo | None

    @property
    def row_bytes(self) -> int:
        return int(np.prod(self.named.shape[1:])) * self.named.dtype.itemsize


_headers: Cache[dict[str, Stored]] = Cache(256)


def _header(file: IO[bytes], name: str, size: int, said: str) -> tuple[Named, int, bool]:
    """Name, shape and dtype, length of the header, axis order; `said` is the array's name in messages.

    Raises
    ------
    ValueError
        If it is not an array, is an object array, or is shorter than declared.
    """
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"{said}: format {version} is not known")
    shape, fortran, dtype = readers[version](file, max_header_size=HEADER)
    if dtype.hasobject:
        raise ValueError(
            f"{said} holds Python objects, which are not loaded (they can run code): save plain numbers or text"
        )
    if dtype.fields or dtype.subdtype:
        raise ValueError(f"{said} holds records: save plain numbers or text")
    begin = file.tell()
    need = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if size - begin < need:
        raise ValueError(f"{said} is truncated: its header declares {need:,} bytes, {size - begin:,} are present")
    return Named(name, shape, dtype), begin, fortran


def _arrays(reader: Reader, location: str) -> dict[str, Stored]:
    if _bare(location).endswith(".npy"):
        file = reader.file(HEADER)
        named, begin, fortran = _header(file, ARRAY, reader.size, "it")
        return {ARRAY: Stored(named, begin, fortran, None)}
    found: dict[str, Stored] = {}
    with zipfile.ZipFile(reader.file(HEADER)) as archive:
        for info in archive.infolist():
            if not is_safe(info.filename) or not info.filename.endswith(".npy"):
                continue
            if info.file_size > LARGE and info.file_size > RATIO * max(1, info.compress_size):
                raise ValueError(
                    f"{info.filename} inflates {info.file_size // max(1, info.compress_size):,} times to {info.file_size:,} bytes"
                    " (decompression bomb?); if it is none, save it with np.savez"
                )
            name = info.filename.removesuffix(".npy")
            with archive.open(info) as member:
                named, begin, fortran = _header(member, name, info.file_size, name)
            if info.compress_type == zipfile.ZIP_STORED:
                head = reader.range(info.header_offset, info.header_offset + 30)
                begin += (
                    info.header_offset
                    + 30
                    + int.from_bytes(head[26:28], "little")
                    + int.from_bytes(head[28:30], "little")
                )
                found[name] = Stored(named, begin, fortran, None)
            else:
                found[name] = Stored(named, begin, fortran, info)
    return found


def _bare(location: str) -> str:
    return (location.partition("?")[0] if is_url(location) else location).lower()


def _open(location: str, access: Access) -> tuple[Reader, dict[str, Stored]]:
    """Reader and arrays of a file.

    Raises
    ------
    DatapropsError
        If it cannot be read without unpickling, or is corrupt.
    """
    try:
        reader = open_reader(location, access)
        return reader, _headers.get(readers.identity(location, access), lambda: _arrays(reader, location))
    except (
        OSError,
        ValueError,
        EOFError,
        SyntaxError,
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
        RuntimeError,
    ) as error:
        let_through(error)
        raise DatapropsError(f"{redacted(location)} cannot be read as a NumPy file: {said(error)}") from None


def _opened(location: str, access: Access) -> tuple[Reader, list[Stored]]:
    reader, known = _open(location, access)
    return reader, list(known.values())


def _whole(reader: Reader, stored: Stored) -> np.ndarray:
    """All values of a small array."""
    named = stored.named
    need = int(np.prod(named.shape)) * named.dtype.itemsize
    if need > LABELS:
        raise ValueError(f"{named.name} has {need:,} bytes, too many for labels")
    if stored.packed is None:
        data = reader.range(stored.start, stored.start + need)
    else:
        with zipfile.ZipFile(reader.file()) as archive, archive.open(stored.packed) as member:
            member.read(stored.start)
            data = member.read(need)
    return np.frombuffer(data, named.dtype).reshape(named.shape, order="F" if stored.fortran else "C")


def scan(location: str, options: SourceOptions) -> pd.DataFrame:
    """List the images of an .npy or .npz; see `sources.Source`.

    Raises
    ------
    DatapropsError
        If it cannot be read, or the choice of the image array is ambiguous.
    """
    access = access_of(options)
    reader, known = _open(location, access)
    rules = given_rules(options)
    beside = {
        rule: rules[rule] for rule in ("labels", "groups") if rules.get(rule) and _bare(location).endswith(".npy")
    }
    plain = replace(options, rules=tuple(rule for rule in options.rules if rule.partition("=")[0] not in beside))
    decisions = []
    parts = arraysets.choose(location, [stored.named for stored in known.values()], plain)
    unlabelled = len(parts) == 1 and parts[0].labels is None
    if unlabelled and "labels" not in rules and not is_url(location):
        other = arraysets.beside(Path(location).name, [entry.name for entry in Path(location).parent.iterdir()])
        if other is not None:
            beside["labels"] = other
            decisions.append(Decision("labels", f"of {other}", "its name is similar", "--rule labels=FILE"))
    named = [stored.named for stored in known.values()]
    decisions += arraysets.told_shapes(parts, named)
    decisions += [] if beside else arraysets.told_others(parts, named, options)
    for part in parts:
        if known[part.images.name].fortran:
            raise DatapropsError(
                f"{redacted(location)}: {part.images.name} is stored in Fortran order, so that one image is spread over the whole"
                " file: save np.ascontiguousarray(images)"
            )
    try:
        texts: dict[str, list[str | None]] = {}
        for part in parts:
            for name in (part.labels, part.groups):
                if name:
                    column = rules.get("column", "") if name == part.labels else ""
                    texts[name] = arraysets.label_texts(location, name, _whole(reader, known[name]), column)
        for rule, file in beside.items():
            place = file if os.path.isabs(file) else filesystems.joined(filesystems.parent(location), file)  # noqa: PTH117
            other, (stored, *_) = _opened(place, access)
            column = rules.get("column", "") if rule == "labels" else ""
            texts[rule] = arraysets.label_texts(place, file, _whole(other, stored), column)
            images = parts[0].images.shape[0]
            if len(texts[rule]) != images:
                raise DatapropsError(
                    f"{file} has {len(texts[rule])} values and {redacted(location)} {images} images: give one for each"
                )
            parts = [parts[0]._replace(**{rule: rule})]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DatapropsError(f"{redacted(location)} cannot be read as a NumPy file: {error}") from None
    return told(arraysets.part_table(location, parts, texts, options), {}, (), decisions)


def _stored(location: str, name: str, options: SourceOptions) -> tuple[Reader, Stored]:
    try:
        reader, known = _open(location, access_of(options))
        return reader, known[name]._replace(named=arraysets.shaped(known[name].named, options))
    except DatapropsError as error:
        raise OSError(errno.EIO, str(error)) from None
    except KeyError:
        raise OSError(errno.ENOENT, "there is no such array") from None


def _image(stored: Stored, data: bytes) -> RawImage:
    if len(data) < stored.row_bytes:
        raise OSError(errno.EIO, "the file ends within it")
    return arraysets.as_image(np.frombuffer(data, stored.named.dtype).reshape(stored.named.shape[1:]))


def read(location: str, key: str, options: SourceOptions) -> RawImage:
    """Read one image; in a compressed array, by decompressing all that precedes it."""
    name, row = key_parts(key)
    reader, stored = _stored(location, name, options)
    if stored.packed is not None:
        content = next(content for _, content in _rows(reader, stored, {row: key}))
        if isinstance(content, OSError):
            raise content
        return content
    start = stored.start + row * stored.row_bytes
    return _image(stored, reader.range(start, start + stored.row_bytes))


def _rows(reader: Reader, stored: Stored, wanted: dict[int, str]) -> Iterator[tuple[str, RawImage | OSError]]:
    """Read the wanted rows of a compressed array in one pass, in order."""
    assert stored.packed is not None
    left = dict(wanted)
    try:
        with zipfile.ZipFile(reader.file(2**20)) as archive, archive.open(stored.packed) as member:
            member.read(stored.start)
            for row in range(max(wanted) + 1):
                data = member.read(stored.row_bytes)
                if row in left:
                    try:
                        yield left.pop(row), _image(stored, data)
                    except OSError as error:
                        yield wanted[row], error
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        for key in left.values():
            yield key, OSError(errno.EIO, f"the file is damaged: {plain_reason(error)}")


def order(location: str, keys: Sequence[str], options: SourceOptions) -> list[int] | None:
    """Positions of the keys in the order of compressed arrays; None if each image can be read independently."""
    parts = [key_parts(key) for key in keys]
    if all(_stored(location, name, options)[1].packed is None for name in {name for name, _ in parts}):
        return None
    return sorted(range(len(keys)), key=lambda i: parts[i])


def stream(location: str, keys: Sequence[str], options: SourceOptions) -> Iterator[tuple[str, RawImage | OSError]]:
    """Read the images of keys in the order of `order`; compressed arrays are read once each."""
    wanted: dict[str, dict[int, str]] = {}
    for key in keys:
        name, row = key_parts(key)
        wanted.setdefault(name, {})[row] = key
    for name, rows in wanted.items():
        reader, stored = _stored(location, name, options)
        if stored.packed is not None:
            yield from _rows(reader, stored, rows)
            continue
        yield from one_by_one(rows.values(), lambda key: read(location, key, options))


def version_tokens(location: str, keys: Sequence[str], options: SourceOptions) -> list[int]:
    """A number per image that changes when the file does."""
    return filesystems.version_tokens([location] * len(keys), access_of(options))
