"""Archives of a folder, read where they are: zip and tar, and WebDataset shards.

zip and plain tar give random access: their members are found once and each is read by one range of bytes. A compressed tar
(.tar.gz, .tgz, .tar.bz2, .tar.xz) has none: to read its last member all before it must be inflated. So it is only ever read from its
start to its end (`stream`): once for the list, once for the contents, once for the decoding, whatever the number of images; what
is read is handed to the workers. One image out of order costs one pass up to it.

A member that is another name of a file (a hard link, a link within the archive) is an image as that file is: it is the very
duplicate that an audit looks for. Backslashes between folders, as programs of Windows write them, count as slashes. Members of
unknown endings are asked by their first bytes. For the files beside images of WebDataset see `webdataset`.
"""

from __future__ import annotations

import bz2
import contextlib
import errno
import gzip
import io
import logging
import lzma
import os
import posixpath
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.imaging.formats import HEAD, is_image
from dataprops.sources.account import CUT, LINKED, REPEATED, UNSAFE, Decision, decide, reason_of, told
from dataprops.sources.beside import with_tables
from dataprops.sources.containers import webdataset
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
    with_slashes,
)
from dataprops.sources.remote import filesystems
from dataprops.sources.remote.filesystems import Access, Reader, access_of, open_reader
from dataprops.sources.table import SourceOptions, image_table, shown
from dataprops.sources.tablefile import EXCEL, TEXTS
from dataprops.util.cache import Cache
from dataprops.util.guard import let_through
from dataprops.util.redact import is_url, redacted

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
BUFFER = 2**20
TABLES = 2**29  # bytes of all tables of an archive
LINK = 4096  # bytes that the target of a link may have
NOWHERE = "link that leads out of the archive, or nowhere"
# first bytes -> what it is and the endings of such an archive; none: it is not read
KINDS: dict[bytes, tuple[str, tuple[str, ...]]] = {
    b"PK\3\4": ("a zip archive", (".zip",)),
    b"\x1f\x8b": ("packed by gzip", (".tar.gz", ".tgz")),
    b"BZh": ("packed by bzip2", (".tar.bz2", ".tbz2")),
    b"\xfd7zXZ\0": ("packed by xz", (".tar.xz", ".txz")),
    b"Rar!": ("a RAR archive", ()),
    b"7z\xbc\xaf": ("a 7z archive", ()),
}
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
        Name -> Member, in the archive's order. Several names may be of one member.
    others : dict
        Names of what is no image -> why; folders end with ``/``.
    texts : dict
        Name -> text beside an image, of WebDataset.
    slashed : dict
        Names in the archive that are written otherwise there -> names as here.
    cut : bool
        Whether the archive ends early.
    """

    images: dict[str, Member]
    others: dict[str, str]
    texts: dict[str, str]
    slashed: dict[str, str]
    cut: bool = False


_indices: Cache[Index] = Cache(2_000_000, lambda index: len(index.images) + len(index.texts))


def numbered(name: str) -> bool:
    """Whether a name stands for several shards, as ``scans-{000..012}.tar`` does."""
    return BRACES.search(name) is not None


def is_packed(name: str) -> bool:
    """Whether an archive has no random access."""
    return name.lower().endswith(tuple(PACKED))


# zip


def _zip_index(reader: Reader) -> Index:
    images: dict[str, Member] = {}
    others: dict[str, str] = {}
    links: dict[str, str] = {}
    known: dict[str, Member] = {}
    with zipfile.ZipFile(reader.file(BUFFER)) as archive:
        infos = archive.infolist()
        dos = bool(infos) and all(info.create_system == 0 for info in infos)
        slashed = with_slashes([info.filename for info in infos], windows=dos)
        for info in infos:
            name = slashed[info.filename]
            member = Member(info.header_offset, info.compress_size, info.file_size, info)
            # zipfile cuts names at a NUL
            kind = kind_of_member(name) if "\0" not in info.orig_filename else "unsafe"
            if stat.S_ISLNK(info.external_attr >> 16) and kind != "unsafe" and info.file_size <= LINK:
                target = os.fsdecode(_zip_bytes(archive, info, LINK))
                links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
                continue
            known[name] = member
            head = _zip_bytes(archive, info, HEAD) if kind == "unknown" else b""
            if kind == "unknown":
                kind = "image" if is_image(head, name) else "other"
            if name in images:
                others[name] = REPEATED
            if kind == "image":
                images[name] = member
            elif name not in images:
                others[name] = UNSAFE if kind == "unsafe" else reason_of(name, head)
    _follow(links, known, images, others)
    return Index(images, others, {}, {raw: name for raw, name in slashed.items() if raw != name})


def _zip_bytes(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bytes:
    """The first bytes of a member; empty if it is damaged or encrypted."""
    try:
        with archive.open(info) as file:
            return file.read(most)
    except (*_DAMAGED, OSError, ValueError):
        return b""


def _follow(
    links: Mapping[str, str], known: Mapping[str, Member], images: dict[str, Member], others: dict[str, str]
) -> None:
    """Links to files of the archive: names of these files, images if they are; ./a and a are one name."""
    places = {member.start for member in images.values()}
    targets = {posixpath.normpath(name): posixpath.normpath(target) for name, target in links.items()}
    members = {posixpath.normpath(name): member for name, member in (*known.items(), *images.items())} if links else {}
    for name in links:
        at, seen = posixpath.normpath(name), set()
        while at in targets and at not in seen:
            seen.add(at)
            at = targets[at]
        target = members.get(at)
        if target is None:
            inside = any(other.startswith(f"{at}/") for other in members)
            others[name] = LINKED if inside else NOWHERE
        elif target.start in places or kind_of_member(name) == "image":
            images[name] = target
        else:
            others[name] = reason_of(name)


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
        raise OSError(errno.EIO, "the archive is damaged: there is no member header where one is expected")
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
    index = Index({}, {}, {}, {})
    known: dict[str, Member] = {}
    links: dict[str, str] = {}
    last, cut, end = None, False, 0
    try:
        for archive, member in _tar_members(name, reader):
            last, end = member, archive.offset
            _enter(archive, member, index, known, links)
    except (*_DAMAGED, OSError) as error:
        # what came before the cut stands; the member that it goes through is listed and cannot be read
        if last is None or getattr(error, "errno", None):  # a bomb, or a file that cannot be read
            raise
        cut = True
    if not is_packed(name):
        # tarfile ends at a damaged header as at the end; a whole archive ends with zeros
        tail = reader.range(end, end + tarfile.BLOCKSIZE)
        cut |= not tail or any(tail)
    _follow(links, known, index.images, index.others)
    slashed = with_slashes([*index.images, *index.others, *index.texts])
    if any(raw != new for raw, new in slashed.items()):
        index = Index(
            {slashed[raw]: value for raw, value in index.images.items()},
            {slashed[raw]: value for raw, value in index.others.items()},
            {slashed[raw]: value for raw, value in index.texts.items()},
            {raw: new for raw, new in slashed.items() if raw != new},
        )
    return index._replace(cut=cut)


def _enter(
    archive: tarfile.TarFile,
    member: tarfile.TarInfo,
    index: Index,
    known: dict[str, Member],
    links: dict[str, str],
) -> None:
    """Put one member of a tar into the index."""
    name = member.name
    kind = kind_of_member(name)
    if member.isdir():
        index.others[f"{name}/"] = reason_of(name)
    elif (member.islnk() or member.issym()) and kind != "unsafe":
        target = member.linkname
        links[name] = target if member.islnk() else posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    elif not member.isreg() or kind in ("unsafe", "hidden"):
        index.others[name] = UNSAFE if kind == "unsafe" else reason_of(name)
    else:
        known[name] = Member(member.offset_data, member.size, member.size)
        head = _tar_bytes(archive, member, HEAD) if kind == "unknown" else b""
        if kind == "unknown":
            kind = "image" if is_image(head, name) else "other"
        if kind == "image":
            if index.images.pop(name, None) is not None:
                index.others[name] = REPEATED  # the later one counts, at its own place
            index.images[name] = known[name]
            return
        index.others[name] = reason_of(name, head)
        if name.lower().endswith(webdataset.SIDECARS) and member.size <= LISTED_AT_ONCE:
            index.texts[name] = _tar_bytes(archive, member, member.size).decode("utf-8", "replace").strip()


def _tar_bytes(archive: tarfile.TarFile, member: tarfile.TarInfo, most: int) -> bytes:
    file = archive.extractfile(member)
    return file.read(most) if file is not None else b""


def _tar_member(reader: Reader, member: Member) -> bytes:
    if member.size > LARGEST:
        check_inflation(member.size, member.packed)
    data = b"" if member.start + member.size > reader.size else reader.range(member.start, member.start + member.size)
    if len(data) < member.size:
        raise OSError(errno.EIO, "the archive ends within it")
    return data


def _streamed(name: str, reader: Reader, index: Index, wanted: set[str]) -> Iterator[tuple[str, bytes | OSError]]:
    """Read members of a compressed tar in one pass, in its order; if a name occurs twice, the later member counts."""
    left: dict[int, list[str]] = {}
    for key, member in index.images.items():
        if key in wanted:
            left.setdefault(member.start, []).append(key)
    try:
        for archive, member in _tar_members(name, reader):
            if not left:
                return
            if not member.isreg() or member.offset_data not in left:
                continue
            if member.size > LARGEST:
                content: bytes | OSError = OSError(
                    errno.EFBIG, f"{member.size:,} bytes are more than an image file should have"
                )
            else:
                file = archive.extractfile(member)
                data = file.read() if file is not None else b""
                content = data if len(data) == member.size else OSError(errno.EIO, "the archive ends within it")
            yield from ((key, content) for key in left.pop(member.offset_data))
    except (*_DAMAGED, OSError):
        pass  # what is left is told below
    for keys in left.values():
        yield from ((key, OSError(errno.EIO, "the archive ends within it")) for key in keys)


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


def _other_kind(location: str, reader: Reader | None) -> str:
    """What a file is by its first bytes, and what to do about it, where its name says another kind; '' otherwise."""
    try:
        head = reader.range(0, min(8, reader.size)) if reader is not None else b""
    except OSError:
        return ""
    for mark, (kind, endings) in KINDS.items():
        if head.startswith(mark) and not _suffixed(location, endings):
            return (
                f"{kind}: {f'name it so that it ends in {endings[0]}' if endings else 'unpack it, and give the folder'}"
            )
    return ""


def _opened(location: str, options: SourceOptions) -> tuple[Reader, Index]:
    """Reader and index of one archive.

    Raises
    ------
    DatapropsError
        If it is none, or damaged so that nothing can be told of it.
    """
    reader = None
    try:
        access = access_of(options)
        reader = open_reader(location, access)
        return reader, _index(location, reader, access)
    except (*_DAMAGED, OSError, ValueError) as error:
        let_through(error)
        reason = getattr(error, "strerror", None) or _plain_reason(error)
        if other := _other_kind(location, reader):
            raise DatapropsError(f"{redacted(location)} cannot be read as an archive: it is {other}") from None
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
        raise DatapropsError(f"{redacted(location)}: none of its archives holds an image{hint}")
    whole = pd.concat([table.copy() for table in tables], ignore_index=True)
    out = image_table(*(whole[column].tolist() for column in ("key", "label", "split", "group", "path")))
    out = told(out, left_out, (), decisions.values())
    return _warned(_with_neighbours(out, location, options), cut)


def _with_tables(table: pd.DataFrame, location: str, index: Index, options: SourceOptions) -> pd.DataFrame:
    """The images of an archive with what tables in it tell, as those of a folder."""
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
    """The images of the archives of a folder with what tables beside these tell; they name images as the archives do."""
    if is_url(location) or not os.path.isdir(location):  # noqa: PTH112 - names may hold bytes that are no UTF-8
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
    table.attrs["reasons"] |= {name: reason_of(name) for name in names}
    return table


def _tables_of(location: str, names: Mapping[str, str], options: SourceOptions) -> dict[str, bytes]:
    """The bytes of all tables of an archive, in one pass: names as written there -> names as here."""
    reader = open_reader(location, access_of(options))
    wanted = {
        raw for raw in names if raw.lower().endswith((*TEXTS, ".parquet", EXCEL, ".yaml", ".yml", ".names", ".xml"))
    }
    found: dict[str, bytes] = {}
    left = TABLES
    with contextlib.suppress(*_DAMAGED, OSError):
        if _suffixed(location, ZIP):
            with zipfile.ZipFile(reader.file(BUFFER)) as archive:
                for info in archive.infolist():
                    if info.filename in wanted and info.file_size <= left:
                        found[names[info.filename]] = _zip_bytes(archive, info, info.file_size)
                        left -= info.file_size
        else:
            for archive, member in _tar_members(_bare(location), reader):
                if member.isreg() and member.name in wanted and member.size <= left:
                    found[names[member.name]] = _tar_bytes(archive, member, member.size)
                    left -= member.size
    return found


def _warned(table: pd.DataFrame, cut: list[str]) -> pd.DataFrame:
    for place in cut:
        log.warning("the archive %s is truncated; later members are missing", redacted(place))
        name = f"{shown(filesystems.name_of(place))} (ends early: later members are missing)"
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
    used = {name for name in index.texts if posixpath.splitext(name)[0] in _used(index.images, keyed)}
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
    # a folder's name stands for the label only where nothing is beside the image
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
        table.attrs["decisions"] = [made for made in table.attrs["decisions"] if made["what"] != "classes"]
    decide(table, *webdataset.told_of(own if not labelled else table["label"].tolist(), captions))
    return table


def _used(images: Mapping[str, Member], keyed: Mapping[str, Any]) -> set[str]:
    """Keys of files that lie beside an image."""
    return {key for name in images if (key := webdataset.key_of(name, keyed)) is not None}


def _located(location: str, key: str) -> tuple[str, str]:
    """The archive that holds a key, and the member's name."""
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
        place: {
            name: (member.start, number)
            for number, (name, member) in enumerate(_opened(place, options)[1].images.items())
        }
        for place in {place for place, _ in parts}
    }
    return sorted(range(len(keys)), key=lambda i: (parts[i][0], at[parts[i][0]].get(parts[i][1], (-1, -1))))


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


def version_tokens(location: str, keys: Sequence[str], options: SourceOptions) -> list[int]:
    """A number for each image that changes when its archive does."""
    parts = [_located(location, key)[0] for key in keys]
    each = sorted(set(parts))
    known = dict(zip(each, filesystems.version_tokens(each, access_of(options)), strict=True))
    return [known[place] for place in parts]
