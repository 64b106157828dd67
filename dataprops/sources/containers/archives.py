"""Archives of image folders, read in place: zip and tar, and WebDataset shards.

`zips` and `tars` provide an index (`archive_index`) and the bytes of members. This module builds the table of images from them,
with labels from tables and texts inside an archive, or beside several archives.

A hard link, or a symbolic link within the archive, counts as an image of its own: it is a duplicate, as an audit should find.
Backslashes in paths, as written by Windows programs, count as slashes. Members with unknown extensions are identified by their
first bytes. For the files beside images in WebDataset see `webdataset`.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.sources.account import CUT, Decision, decide, told, why_left_out, withdraw
from dataprops.sources.beside import with_tables
from dataprops.sources.containers import webdataset
from dataprops.sources.containers.archive_index import DAMAGED, Index, Member, plain_reason
from dataprops.sources.containers.members import BRACES, member_table, shards_of, split_named
from dataprops.sources.containers.streams import one_by_one
from dataprops.sources.containers.tars import PACKED, is_packed, streamed, tar_files, tar_index, tar_member
from dataprops.sources.containers.zips import zip_files, zip_index, zip_member
from dataprops.sources.remote import filesystems, readers
from dataprops.sources.remote.connections import Access, access_of
from dataprops.sources.remote.readers import Reader, open_reader
from dataprops.sources.table import SourceOptions, image_table, shown
from dataprops.sources.tablefile import EXCEL, TEXTS
from dataprops.util.cache import Cache
from dataprops.util.guard import let_through
from dataprops.util.names import without_ending
from dataprops.util.redact import is_url, redacted

log = logging.getLogger(__name__)

ZIP = (".zip",)
TAR = (".tar", *PACKED)
TABLES = 2**29  # maximum total size of an archive's tables, bytes
# magic bytes -> format and its extensions; none: unsupported
KINDS: dict[bytes, tuple[str, tuple[str, ...]]] = {
    b"PK\3\4": ("a zip archive", (".zip",)),
    b"\x1f\x8b": ("packed by gzip", (".tar.gz", ".tgz")),
    b"BZh": ("packed by bzip2", (".tar.bz2", ".tbz2")),
    b"\xfd7zXZ\0": ("packed by xz", (".tar.xz", ".txz")),
    b"Rar!": ("a RAR archive", ()),
    b"7z\xbc\xaf": ("a 7z archive", ()),
}


_indices: Cache[Index] = Cache(2_000_000, lambda index: len(index.images) + len(index.texts))


def numbered(name: str) -> bool:
    """Whether a name denotes several shards, such as ``scans-{000..012}.tar``."""
    return BRACES.search(name) is not None


def _index(location: str, reader: Reader, access: Access) -> Index:
    is_zip = _suffixed(location, ZIP)
    return _indices.get(
        readers.identity(location, access),
        lambda: zip_index(reader) if is_zip else tar_index(_bare(location), reader),
    )


def _bare(location: str) -> str:
    return location.partition("?")[0]


def _suffixed(location: str, suffixes: tuple[str, ...]) -> bool:
    return _bare(location).lower().endswith(suffixes)


def _other_kind(location: str, reader: Reader | None) -> str:
    """The actual format of a file whose extension is wrong, by its first bytes, and the remedy; otherwise ""."""
    try:
        head = reader.range(0, min(8, reader.size)) if reader is not None else b""
    except OSError:
        return ""
    for mark, (kind, endings) in KINDS.items():
        if head.startswith(mark) and not _suffixed(location, endings):
            return f"{kind}: {f'rename it so that it ends in {endings[0]}' if endings else 'unpack it, and give the folder'}"
    return ""


def _opened(location: str, options: SourceOptions) -> tuple[Reader, Index]:
    """Reader and index of one archive.

    Raises
    ------
    DatapropsError
        If it is not an archive, or too corrupt to index.
    """
    reader = None
    try:
        access = access_of(options)
        reader = open_reader(location, access)
        return reader, _index(location, reader, access)
    except (*DAMAGED, OSError, ValueError) as error:
        let_through(error)
        reason = getattr(error, "strerror", None) or plain_reason(error)
        if other := _other_kind(location, reader):
            raise DatapropsError(f"{redacted(location)} cannot be read as an archive: it is {other}") from None
        raise DatapropsError(
            f"{redacted(location)} cannot be read as an archive: {reason}; is it whole? (make it again, or check the download)"
        ) from None


def scan(location: str, options: SourceOptions) -> pd.DataFrame:
    """List the images of an archive, or of a location's tar shards; see `sources.Source`.

    Raises
    ------
    DatapropsError
        If an archive cannot be read, or contains no images.
    """
    base, names = _shards(location, options)
    alone = len(names) == 1 and _suffixed(location, (*ZIP, *TAR)) and "{" not in location
    places = [location if alone else filesystems.joined(base, name) for name in names]
    indices = [_opened(place, options)[1] for place in places]
    keyed = [webdataset.texts_by_key(index.texts) for index in indices]
    texts = [
        text
        for index, texts_there in zip(indices, keyed, strict=True)
        for text in webdataset.captions_of(index.images, texts_there)
    ]
    captions = webdataset.are_captions(texts)
    if alone:
        table = _table(location, indices[0], keyed[0], options, split_named(names[0]), captions)
        table = _with_tables(table, location, indices[0], options)
        return _warned(table, [location] if indices[0].cut else [])
    tables, left_out, decisions, cut = [], {}, {}, []
    for name, place, index, told_there in zip(names, places, indices, keyed, strict=True):
        if not index.images:
            left_out[name] = "archive without images"
            continue
        table = _table(place, index, told_there, options, split_named(name), captions)
        table["key"] = [f"{name}/{key}" for key in table["key"]]
        table["path"] = [f"{shown(name)}/{path}" for path in table["path"]]
        left_out |= {f"{shown(name)}/{path}": why for path, why in table.attrs["reasons"].items()}
        decisions |= {tuple(decision.values()): Decision(**decision) for decision in table.attrs["decisions"]}
        cut += [place] if index.cut else []
        tables.append(table)
    if not tables:
        within = next((name for index in indices for name in index.others if name.lower().endswith((*ZIP, *TAR))), None)
        hint = f"; {shown(within)} is an archive within one of them: unpack that first" if within else ""
        if not within and (others := [name for index in indices for name in index.others]):
            hint = f"; they hold files of other kinds ({len(others):,}), such as {shown(min(others))}"
        raise DatapropsError(f"{redacted(location)}: none of its archives holds an image{hint}")
    whole = pd.concat([table.copy() for table in tables], ignore_index=True)
    out = image_table(*(whole[column].tolist() for column in ("key", "label", "split", "group", "path")))
    out = told(out, left_out, (), decisions.values())
    return _warned(_with_neighbours(out, location, options), cut)


def _with_tables(table: pd.DataFrame, location: str, index: Index, options: SourceOptions) -> pd.DataFrame:
    """Add labels, splits and patients from tables in the archive, as for a folder."""
    raw = {name: written for written, name in index.slashed.items()}
    texts: dict[str, bytes] = {name: text.encode() for name, text in index.texts.items()}
    passed: list[bool] = []

    def read(name: str) -> bytes:
        if name not in texts and not passed:
            passed.append(True)
            texts.update(_tables_of(location, {raw.get(other, other): other for other in index.others}, options))
        if name not in texts:
            raise OSError(errno.ENOENT, "it is too large for a table, or damaged")
        return texts[name]

    keys = table["key"]
    table["key"] = [posixpath.normpath(key) for key in keys]
    table = with_tables(table, read, options)
    table["key"] = keys
    return table


def _with_neighbours(table: pd.DataFrame, location: str, options: SourceOptions) -> pd.DataFrame:
    """Add labels, splits and patients from tables beside the archives of a folder; they name images as in the archives."""
    if is_url(location) or not os.path.isdir(location):  # noqa: PTH112 - names may contain bytes that are not UTF-8
        return table
    root = Path(location)
    suffixes = (*TEXTS, ".parquet", EXCEL)
    names = [
        p.relative_to(root).as_posix() for p in root.rglob("*") if p.name.lower().endswith(suffixes) and p.is_file()
    ]
    keys = table["key"]
    inside = [_located(location, key)[1] for key in keys]
    if not names or len(set(inside)) < len(inside):
        return table
    ignored = table.attrs["ignored"]
    table.attrs["ignored"], table["key"] = names, inside
    table = with_tables(table, lambda name: (root / name).read_bytes(), options)
    table["key"] = keys
    table.attrs["ignored"] = [*ignored, *names]
    table.attrs["reasons"] |= {name: why_left_out(name) for name in names}
    return table


def _tables_of(location: str, names: Mapping[str, str], options: SourceOptions) -> dict[str, bytes]:
    """Bytes of an archive's tables, read in one pass, by normalised name; `names` maps stored to normalised names."""
    reader = open_reader(location, access_of(options))
    wanted = {
        raw for raw in names if raw.lower().endswith((*TEXTS, ".parquet", EXCEL, ".yaml", ".yml", ".names", ".xml"))
    }
    found: dict[str, bytes] = {}
    left = TABLES
    with contextlib.suppress(*DAMAGED, OSError):
        for raw, size, content in zip_files(reader) if _suffixed(location, ZIP) else tar_files(_bare(location), reader):
            if raw in wanted and size <= left:
                found[names[raw]] = content()
                left -= size
    return found


def _warned(table: pd.DataFrame, cut: list[str]) -> pd.DataFrame:
    for place in cut:
        log.warning("the archive %s is truncated; later members are missing", redacted(place))
        name = f"{shown(filesystems.name_of(place))} (truncated: later members are missing)"
        table.attrs["ignored"].append(name)
        table.attrs["reasons"][name] = CUT
    return table


def _shards(location: str, options: SourceOptions) -> tuple[str, list[str]]:
    try:
        base, names = shards_of(location, (*ZIP, *TAR), access_of(options))
    except OSError as error:
        raise DatapropsError(f"{redacted(location)} cannot be listed: {error.strerror}") from None
    if not names:
        raise DatapropsError(f"{redacted(location)} holds no archives (looked for {' '.join((*ZIP, *TAR))})")
    return base, names


def _table(
    location: str,
    index: Index,
    keyed: dict[str, dict[str, str]],
    options: SourceOptions,
    split: str | None,
    captions: bool,
) -> pd.DataFrame:
    found = {
        name: webdataset.beside(name, keyed[key], options, captions)
        for name in index.images
        if (key := webdataset.key_of(name, keyed)) is not None
    }
    used = {name for name in index.texts if without_ending(name) in _used(index.images, keyed)}
    left_out = {name: why for name, why in index.others.items() if name not in used}
    labelled = any(beside.label is not None for beside in found.values())
    if not labelled and not captions:
        table = member_table(location, list(index.images), index.others, options)
        fields = webdataset.fields_of(keyed[key] for key in _used(index.images, keyed))
        decide(table, *webdataset.told_of(table["label"].tolist(), captions, fields))
        return table
    table = member_table(location, list(index.images), left_out, options)
    none = webdataset.Beside(None, None, None)
    beside = [found.get(key, none) for key in table["key"]]
    # folder names are labels only for images without label files
    own = [
        given.label if given.label is not None else known for given, known in zip(beside, table["label"], strict=True)
    ]
    table["label"] = pd.Series(own, dtype=object)
    for column, values, fallback in (
        ("split", [given.split for given in beside], split),
        ("group", [given.group for given in beside], None),
    ):
        own = [value or known or fallback for value, known in zip(values, table[column], strict=True)]
        table[column] = pd.Series(own, dtype=object)
    table.attrs["empty_classes"] = []
    if labelled:
        withdraw(table, "classes")
    decide(table, *webdataset.told_of(own if not labelled else table["label"].tolist(), captions))
    return table


def _used(images: Mapping[str, Member], keyed: Mapping[str, Any]) -> set[str]:
    """Keys of the label files beside an image."""
    return {key for name in images if (key := webdataset.key_of(name, keyed)) is not None}


def _located(location: str, key: str) -> tuple[str, str]:
    """Archive and member name of a key."""
    if _suffixed(location, (*ZIP, *TAR)) and "{" not in location:
        return location, key
    lower = key.lower()
    ends = [at + len(suffix) for suffix in (*ZIP, *TAR) if (at := lower.find(f"{suffix}/")) >= 0]
    if not ends:
        raise OSError(errno.ENOENT, "there is no such archive")
    base = filesystems.parent(location) if "{" in location else location
    return filesystems.joined(base, key[: min(ends)]), key[min(ends) + 1 :]


def read(location: str, key: str, options: SourceOptions) -> bytes:
    """Read the bytes of one member."""
    place, name = _located(location, key)
    try:
        reader, index = _opened(place, options)
    except DatapropsError as error:
        raise OSError(errno.EIO, str(error)) from None
    if name not in index.images:
        raise OSError(errno.ENOENT, "the archive holds no such member")
    if _suffixed(place, ZIP):
        return zip_member(reader, index.images[name])
    if not is_packed(_bare(place)):
        return tar_member(reader, index.images[name])
    content = next(content for _, content in streamed(_bare(place), reader, index, {name}))
    if isinstance(content, OSError):
        raise content
    return content


def order(location: str, keys: Sequence[str], options: SourceOptions) -> list[int] | None:
    """Positions of the keys in the order of compressed archives; None if each image can be read independently."""
    parts = [_located(location, key) for key in keys]
    if not any(is_packed(_bare(place)) for place in {place for place, _ in parts}):
        return None
    at = {
        place: {
            name: (member.start, number)
            for number, (name, member) in enumerate(_opened(place, options)[1].images.items())
        }
        for place in {place for place, _ in parts}
    }
    return sorted(range(len(keys)), key=lambda i: (parts[i][0], at[parts[i][0]].get(parts[i][1], (-1, -1))))


def stream(location: str, keys: Sequence[str], options: SourceOptions) -> Iterator[tuple[str, bytes | OSError]]:
    """Read the images of keys in the order of `order`; compressed archives are read once each."""
    wanted: dict[str, dict[str, str]] = {}
    for key in keys:
        place, name = _located(location, key)
        wanted.setdefault(place, {})[name] = key
    for place, names in wanted.items():
        reader, index = _opened(place, options)
        if is_packed(_bare(place)):
            yield from ((names[name], content) for name, content in streamed(_bare(place), reader, index, set(names)))
            continue
        yield from one_by_one(names.values(), lambda key: read(location, key, options))


def version_tokens(location: str, keys: Sequence[str], options: SourceOptions) -> list[int]:
    """A number per image that changes when its archive does."""
    return filesystems.version_tokens([_located(location, key)[0] for key in keys], access_of(options))
