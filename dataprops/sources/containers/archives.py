"""Archives of a folder, read where they are: zip and tar, and WebDataset shards.

zip and plain tar give random access: their members are found once and each is read by one range of bytes. A compressed tar
(.tar.gz, .tgz, .tar.bz2, .tar.xz) has none: to read its last member all before it must be inflated. So it is only ever read from its
start to its end (`stream`): once for the list, once for the contents, once for the decoding, whatever the number of images; what
is read is handed to the workers. One image out of order costs one pass up to it.

WebDataset: members ``key.jpg`` beside ``key.cls``, ``key.json`` or ``key.txt``; what comes before the first dot of the file's name is
the key. The label is the text of .cls; else of .json the value of the label column; else, where images lie in no folder, the
text of .txt; else the folder's name.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import json
import logging
import lzma
import posixpath
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import IO, Any, NamedTuple

import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.sources import folder
from dataprops.sources.containers.members import (
    BRACES,
    LARGEST,
    LISTED_AT_ONCE,
    RATIO,
    check_inflation,
    kind_of_member,
    member_table,
    shards_of,
    split_named,
)
from dataprops.sources.remote import filesystems
from dataprops.sources.remote.filesystems import Access, Reader, access_of, open_reader
from dataprops.sources.table import SourceOptions, image_table, shown
from dataprops.util.cache import Kept
from dataprops.util.redact import redacted

log = logging.getLogger(__name__)

ZIP = (".zip",)
PACKED = {
    ".tar.gz": gzip.open,
    ".tgz": gzip.open,
    ".tar.bz2": bz2.open,
    ".tbz2": bz2.open,
    ".tar.xz": lzma.open,
    ".txz": lzma.open,
}
TAR = (".tar", *PACKED)
SIDECARS = (".cls", ".json", ".txt")
BUFFER = 2**20
LABEL = 200  # characters of a text that may be a label
_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
    NotImplementedError,
)


class Member(NamedTuple):
    """A file in an archive: where its bytes begin (of a zip: its header), how many there are, and how many when inflated."""

    start: int
    packed: int
    size: int
    info: zipfile.ZipInfo | None = None


class Index(NamedTuple):
    """What an archive holds.

    Attributes
    ----------
    images : dict
        Name -> Member, in the archive's order.
    others : list of str
        Names of what is no image; folders end with ``/``.
    texts : dict
        Name -> text beside an image, of WebDataset.
    cut : bool
        Whether the archive ends early.
    """

    images: dict[str, Member]
    others: list[str]
    texts: dict[str, str]
    cut: bool = False


_indices: Kept[Index] = Kept(2_000_000, lambda index: len(index.images) + len(index.texts))


def numbered(name: str) -> bool:
    """Whether a name stands for several shards, as ``scans-{000..012}.tar`` does."""
    return BRACES.search(name) is not None


def is_packed(name: str) -> bool:
    """Whether an archive has no random access."""
    return name.lower().endswith(tuple(PACKED))


# zip


def _zip_index(reader: Reader) -> Index:
    images: dict[str, Member] = {}
    others: list[str] = []
    with zipfile.ZipFile(reader.file(BUFFER)) as archive:
        for info in archive.infolist():
            name = info.filename
            # zipfile cuts names at a NUL
            kind = kind_of_member(name) if "\0" not in info.orig_filename else "unsafe"
            if kind != "image" or name in images:
                others.append(name)
            if kind == "image":
                images[name] = Member(info.header_offset, info.compress_size, info.file_size, info)
    return Index(images, others, {})


def _zip_member(reader: Reader, member: Member) -> bytes:
    info = member.info
    assert info is not None
    if info.flag_bits & 1:
        raise OSError(errno.EACCES, "the archive's member is encrypted")
    check_inflation(member.size, member.packed)
    if member.start + member.packed > reader.size:
        raise OSError(errno.EIO, "the archive is damaged: the member would end behind the archive's end")
    head = 30 + len(info.orig_filename.encode()) + 2**10  # the local header, with room for what else it may hold
    data = reader.range(member.start, min(member.start + head + member.packed, reader.size))
    if data[:4] != b"PK\x03\x04" or len(data) < 30:
        raise OSError(errno.EIO, "the archive is damaged: there is no member where one should be")
    begin = 30 + int.from_bytes(data[26:28], "little") + int.from_bytes(data[28:30], "little")
    packed = data[begin : begin + member.packed]
    if len(packed) < member.packed:
        packed = reader.range(member.start + begin, member.start + begin + member.packed)
    try:
        with zipfile.ZipExtFile(io.BytesIO(packed), "r", info) as file:
            content = file.read(member.size)  # read() would inflate all before it cuts
    except _DAMAGED as error:
        raise OSError(errno.EIO, f"the archive is damaged: {_plain_reason(error)}") from None
    if len(content) != member.size:
        raise OSError(errno.EIO, "the archive is damaged: the member is shorter than it should be")
    return content


def _plain_reason(error: BaseException) -> str:
    text = str(error)
    return "bad CRC-32" if "CRC" in text else type(error).__name__ if not text or "/" in text else text


# tar


class _Inflated(io.RawIOBase):
    """A decompressed stream; damage ends it (`cut`), and a bomb is an error."""

    def __init__(self, inner: Any, raw: IO[bytes]) -> None:
        self.inner, self.raw, self.total, self.cut = inner, raw, 0, False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self.inner.read1(len(buffer))  # what there is: all that comes before the damage counts
        except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
            if not self.total or getattr(error, "errno", None):  # no stream at all, or a file that cannot be read
                raise
            self.cut, data = True, b""
        self.total += len(data)
        if self.total > LARGEST and self.total > RATIO * max(1, self.raw.tell()):
            raise OSError(errno.EFBIG, f"it inflates more than {RATIO} times (decompression bomb?)")
        buffer[: len(data)] = data
        return len(data)


def _tar_members(name: str, reader: Reader) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Members in order; of a packed tar each must be read before the next is asked for."""
    file = reader.file(BUFFER)
    if is_packed(name):
        suffix = next(suffix for suffix in PACKED if name.lower().endswith(suffix))
        opened = PACKED[suffix](file, "rb")
        archive = tarfile.open(fileobj=io.BufferedReader(_Inflated(opened, file), BUFFER), mode="r|")  # noqa: SIM115 - closed below
    else:
        archive = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115 - closed below
    with archive:
        while (member := archive.next()) is not None:
            archive.members = []  # else it remembers every one
            yield archive, member


def _tar_index(name: str, reader: Reader) -> Index:
    images: dict[str, Member] = {}
    others: list[str] = []
    texts: dict[str, str] = {}
    last, cut, end = None, False, 0
    try:
        for archive, member in _tar_members(name, reader):
            last, end = member, archive.offset
            kind = kind_of_member(member.name)
            if member.isdir():
                others.append(f"{member.name}/")
            elif kind == "image" and member.isreg():
                if member.name in images:
                    others.append(member.name)
                    del images[member.name]  # the later one counts, at its own place
                images[member.name] = Member(member.offset_data, member.size, member.size)
            else:
                others.append(member.name)
                if (
                    kind == "other"
                    and member.isreg()
                    and member.name.lower().endswith(SIDECARS)
                    and member.size <= LISTED_AT_ONCE
                ):
                    file = archive.extractfile(member)
                    if file is not None:
                        texts[member.name] = file.read().decode("utf-8", "replace").strip()
    except (*_DAMAGED, OSError) as error:
        # what came before the cut stands; the member that it goes through is listed and cannot be read
        if last is None or getattr(error, "errno", None):  # a bomb, or a file that cannot be read
            raise
        cut = True
    if not is_packed(name):
        # tarfile ends at a damaged header as at the end; a whole archive ends with zeros
        tail = reader.range(end, end + tarfile.BLOCKSIZE)
        cut |= not tail or any(tail)
    return Index(images, others, texts, cut)


def _tar_member(reader: Reader, member: Member) -> bytes:
    if member.size > LARGEST:
        check_inflation(member.size, member.packed)
    data = b"" if member.start + member.size > reader.size else reader.range(member.start, member.start + member.size)
    if len(data) < member.size:
        raise OSError(errno.EIO, "the archive ends within it")
    return data


def _streamed(name: str, reader: Reader, index: Index, wanted: set[str]) -> Iterator[tuple[str, bytes | OSError]]:
    """The wanted members of a packed tar in its order, in one pass; of two with one name the later counts."""
    left = set(wanted)
    try:
        for archive, member in _tar_members(name, reader):
            if not left:
                return
            known = index.images.get(member.name)
            if member.name not in left or known is None or member.offset_data != known.start:
                continue
            if member.size > LARGEST:
                content: bytes | OSError = OSError(
                    errno.EFBIG, f"{member.size:,} bytes are more than an image file should have"
                )
            else:
                file = archive.extractfile(member)
                data = file.read() if file is not None else b""
                content = data if len(data) == member.size else OSError(errno.EIO, "the archive ends within it")
            left.discard(member.name)
            yield member.name, content
    except (*_DAMAGED, OSError):
        pass  # what is left is told below
    for key in index.images:
        if key in left:
            yield key, OSError(errno.EIO, "the archive ends within it")


# both


def _index(location: str, reader: Reader, access: Access) -> Index:
    is_zip = _suffixed(location, ZIP)
    return _indices.get(
        filesystems.identity(location, access),
        lambda: _zip_index(reader) if is_zip else _tar_index(_bare(location), reader),
    )


def _bare(location: str) -> str:
    return location.partition("?")[0]


def _suffixed(location: str, suffixes: tuple[str, ...]) -> bool:
    return _bare(location).lower().endswith(suffixes)


def _opened(location: str, options: SourceOptions) -> tuple[Reader, Index]:
    """Reader and index of one archive.

    Raises
    ------
    DatapropsError
        If it is none, or damaged so that nothing can be told of it.
    """
    try:
        access = access_of(options)
        reader = open_reader(location, access)
        return reader, _index(location, reader, access)
    except (*_DAMAGED, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or _plain_reason(error)
        raise DatapropsError(
            f"{redacted(location)} cannot be read as an archive: {reason}; is it whole? (make it again, or check the download)"
        ) from None


def scan(location: str, options: SourceOptions) -> pd.DataFrame:
    """List the images of an archive, or of the tar shards at a place; see `sources.Source`.

    Raises
    ------
    DatapropsError
        If an archive cannot be read, or holds no image.
    """
    base, names = _shards(location, options)
    if len(names) == 1 and _suffixed(location, (*ZIP, *TAR)) and "{" not in location:
        _, index = _opened(location, options)
        return _warned(_table(location, index, options, split_named(names[0])), [location] if index.cut else [])
    tables, ignored, cut = [], [], []
    for name in names:
        place = filesystems.joined(base, name)
        _, index = _opened(place, options)
        if not index.images:
            ignored.append(name)
            continue
        table = _table(place, index, options, split_named(name))
        table["key"] = [f"{name}/{key}" for key in table["key"]]
        table["path"] = [f"{shown(name)}/{path}" for path in table["path"]]
        ignored += [f"{shown(name)}/{path}" for path in table.attrs["ignored"]]
        cut += [place] if index.cut else []
        tables.append(table)
    if not tables:
        raise DatapropsError(f"{redacted(location)}: none of its {len(names)} archives holds an image")
    whole = pd.concat(tables, ignore_index=True)
    out = image_table(*(whole[column].tolist() for column in ("key", "label", "split", "group", "path")))
    out.attrs.update(ignored=ignored, empty_classes=[])
    return _warned(out, cut)


def _warned(table: pd.DataFrame, cut: list[str]) -> pd.DataFrame:
    for place in cut:
        log.warning("the archive %s ends early: what came after is missing", redacted(place))
        table.attrs["ignored"].append(f"{shown(filesystems.name_of(place))} (ends early: what came after is missing)")
    return table


def _shards(location: str, options: SourceOptions) -> tuple[str, list[str]]:
    try:
        base, names = shards_of(location, (*ZIP, *TAR), access_of(options))
    except OSError as error:
        raise DatapropsError(f"{redacted(location)} cannot be listed: {error.strerror}") from None
    if not names:
        raise DatapropsError(f"{redacted(location)} holds no archives (looked for {' '.join((*ZIP, *TAR))})")
    return base, names


def _table(location: str, index: Index, options: SourceOptions, split: str | None) -> pd.DataFrame:
    keyed: dict[str, dict[str, str]] = {}
    for name, text in index.texts.items():
        head, _, suffix = _webkey(name)
        keyed.setdefault(head, {})[suffix] = text
    labels = {name: _weblabel(name, keyed.get(_webkey(name)[0], {}), options) for name in index.images}
    if not any(label is not None for label, _, _ in labels.values()):
        return member_table(location, list(index.images), index.others, options)
    beside = {_webkey(name)[0] for name in index.images}
    left_out = [name for name in index.others if name not in index.texts or _webkey(name)[0] not in beside]
    table = member_table(location, list(index.images), left_out, options)
    for column, values in zip(
        ("label", "split", "group"), zip(*(labels[key] for key in table["key"]), strict=True), strict=True
    ):
        own = table[column].tolist()
        if column == "label":
            # a folder's name stands for the label only where nothing is beside the image
            own = [value if value is not None else known for value, known in zip(values, own, strict=True)]
        else:
            fallback = split if column == "split" else None
            own = [value or known or fallback for value, known in zip(values, own, strict=True)]
        table[column] = pd.Series(own, dtype=object)
    table.attrs["empty_classes"] = []
    return table


def _webkey(name: str) -> tuple[str, str, str]:
    head, tail = posixpath.split(name)
    stem, dot, suffix = tail.partition(".")
    return f"{head}/{stem}", dot, suffix.lower()


def _weblabel(name: str, texts: dict[str, str], options: SourceOptions) -> tuple[str | None, str | None, str | None]:
    """Label, split and group that the files beside an image tell."""
    if not texts:
        return None, None, None
    fields: dict[str, Any] = {}
    if "json" in texts:
        try:
            read = json.loads(texts["json"])
            fields = read if isinstance(read, dict) else {options.label_column: read}
        except (ValueError, RecursionError):
            fields = {}
    plain = {key: str(value) for key, value in fields.items() if isinstance(value, str | int | float) and value != ""}
    label = texts.get("cls") or plain.get(options.label_column)
    if label is None and "/" not in name and "json" not in texts:
        text = texts.get("txt", "")
        label = text if text and len(text) <= LABEL and "\n" not in text else None  # a report is no label
    split = plain.get(options.split_column)
    return label, split and folder.SPLITS.get(split.lower(), split), plain.get(options.group_column)


def _located(location: str, key: str) -> tuple[str, str]:
    """The archive that a key lies in, and the member's name."""
    if _suffixed(location, (*ZIP, *TAR)) and "{" not in location:
        return location, key
    lower = key.lower()
    ends = [at + len(suffix) for suffix in (*ZIP, *TAR) if (at := lower.find(f"{suffix}/")) >= 0]
    if not ends:
        raise OSError(errno.ENOENT, "there is no such archive")
    base = filesystems.parent(location) if "{" in location else location
    return filesystems.joined(base, key[: min(ends)]), key[min(ends) + 1 :]


def read(location: str, key: str, options: SourceOptions) -> bytes:
    """The bytes of one member."""
    place, name = _located(location, key)
    try:
        reader, index = _opened(place, options)
    except DatapropsError as error:
        raise OSError(errno.EIO, str(error)) from None
    if name not in index.images:
        raise OSError(errno.ENOENT, "the archive holds no such member")
    if _suffixed(place, ZIP):
        return _zip_member(reader, index.images[name])
    if not is_packed(_bare(place)):
        return _tar_member(reader, index.images[name])
    content = next(content for _, content in _streamed(_bare(place), reader, index, {name}))
    if isinstance(content, OSError):
        raise content
    return content


def order(location: str, keys: Sequence[str], options: SourceOptions) -> list[int] | None:
    """Positions of keys in the order of packed archives; None where each image can be had alone."""
    parts = [_located(location, key) for key in keys]
    if not any(is_packed(_bare(place)) for place in {place for place, _ in parts}):
        return None
    at = {
        place: {name: number for number, name in enumerate(_opened(place, options)[1].images)}
        for place in {place for place, _ in parts}
    }
    return sorted(range(len(keys)), key=lambda i: (parts[i][0], at[parts[i][0]].get(parts[i][1], -1)))


def stream(location: str, keys: Sequence[str], options: SourceOptions) -> Iterator[tuple[str, bytes | OSError]]:
    """The images of keys, which are in the order that `order` gives; packed archives are read once each."""
    wanted: dict[str, dict[str, str]] = {}
    for key in keys:
        place, name = _located(location, key)
        wanted.setdefault(place, {})[name] = key
    for place, names in wanted.items():
        reader, index = _opened(place, options)
        if is_packed(_bare(place)):
            yield from ((names[name], content) for name, content in _streamed(_bare(place), reader, index, set(names)))
            continue
        for key in names.values():
            try:
                yield key, read(location, key, options)
            except OSError as error:
                yield key, error


def stamps(location: str, keys: Sequence[str], options: SourceOptions) -> list[int]:
    """A number for each image that changes when its archive does."""
    parts = [_located(location, key)[0] for key in keys]
    each = sorted(set(parts))
    known = dict(zip(each, filesystems.stamps(each, access_of(options)), strict=True))
    return [known[place] for place in parts]
