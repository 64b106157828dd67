"""tar archives: uncompressed ones have random access, compressed ones are read sequentially.

Each member of an uncompressed tar is read by one byte range. In a compressed one (.tar.gz, .tgz, .tar.bz2, .tar.xz), all members
before the requested one must be decompressed. So it is read in order (`streamed`), three times for any number of images: for the
list, the contents, and decoding by the workers. One image out of order costs one pass up to it.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import posixpath
import tarfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, Any

from dataprops.imaging.formats import HEAD, is_image
from dataprops.sources.account import REPEATED, UNSAFE, why_left_out
from dataprops.sources.containers import webdataset
from dataprops.sources.containers.archive_index import BUFFER, DAMAGED, Index, Member, follow_links
from dataprops.sources.containers.members import (
    LARGEST,
    LISTED_AT_ONCE,
    RATIO,
    check_inflation,
    kind_of_member,
    with_slashes,
)
from dataprops.sources.remote.readers import Reader

PACKED = {
    ".tar.gz": gzip.open,
    ".tgz": gzip.open,
    ".tar.bz2": bz2.open,
    ".tbz2": bz2.open,
    ".tar.xz": lzma.open,
    ".txz": lzma.open,
}


def is_packed(name: str) -> bool:
    """Whether an archive is compressed, and so has no random access."""
    return name.lower().endswith(tuple(PACKED))


class _Inflated(io.RawIOBase):
    """A decompressed stream; corrupt data ends it (`cut`), a decompression bomb raises OSError."""

    def __init__(self, inner: Any, raw: IO[bytes]) -> None:
        self.inner, self.raw, self.total, self.cut = inner, raw, 0, False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self.inner.read1(len(buffer))  # not read(): keep all data before a corrupt part
        except (EOFError, zlib.error, lzma.LZMAError, OSError) as error:
            if not self.total or getattr(error, "errno", None):  # not compressed data, or an I/O error
                raise
            self.cut, data = True, b""
        self.total += len(data)
        if self.total > LARGEST and self.total > RATIO * max(1, self.raw.tell()):
            raise OSError(errno.EFBIG, f"it inflates more than {RATIO} times (decompression bomb?)")
        buffer[: len(data)] = data
        return len(data)


def _members(name: str, reader: Reader) -> Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]:
    """Members in order; in a compressed tar, each must be read before the next is requested."""
    file = reader.file(BUFFER)
    if is_packed(name):
        suffix = next(suffix for suffix in PACKED if name.lower().endswith(suffix))
        opened = PACKED[suffix](file, "rb")
        archive = tarfile.open(fileobj=io.BufferedReader(_Inflated(opened, file), BUFFER), mode="r|")  # noqa: SIM115 - closed below
    else:
        archive = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115 - closed below
    with archive:
        while (member := archive.next()) is not None:
            archive.members = []  # otherwise it keeps every member in memory
            yield archive, member


def tar_index(name: str, reader: Reader) -> Index:
    """Index a tar."""
    index = Index({}, {}, {}, {})
    known: dict[str, Member] = {}
    links: dict[str, str] = {}
    last, cut, end = None, False, 0
    try:
        for archive, member in _members(name, reader):
            last, end = member, archive.offset
            _enter(archive, member, index, known, links)
    except (*DAMAGED, OSError) as error:
        # members before the truncation are kept; the truncated member is listed as unreadable
        if last is None or getattr(error, "errno", None):  # a decompression bomb, or an I/O error
            raise
        cut = True
    if not is_packed(name):
        # tarfile stops silently at a corrupt header; a complete archive ends with zeros
        tail = reader.range(end, end + tarfile.BLOCKSIZE)
        cut |= not tail or any(tail)
    follow_links(links, known, index.images, index.others)
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
    """Add a member to the index."""
    name = member.name
    kind = kind_of_member(name)
    if member.isdir():
        index.others[f"{name}/"] = why_left_out(name)
    elif (member.islnk() or member.issym()) and kind != "unsafe":
        target = member.linkname
        links[name] = target if member.islnk() else posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    elif not member.isreg() or kind in ("unsafe", "hidden"):
        index.others[name] = UNSAFE if kind == "unsafe" else why_left_out(name)
    else:
        known[name] = Member(member.offset_data, member.size, member.size)
        head = _tar_bytes(archive, member, HEAD) if kind == "unknown" else b""
        if kind == "unknown":
            kind = "image" if is_image(head, name) else "other"
        if kind == "image":
            if index.images.pop(name, None) is not None:
                index.others[name] = REPEATED  # the last member of a name counts, at its own position
            index.images[name] = known[name]
            return
        index.others[name] = why_left_out(name, head)
        if name.lower().endswith(webdataset.SIDECARS) and member.size <= LISTED_AT_ONCE:
            index.texts[name] = _tar_bytes(archive, member, member.size).decode("utf-8", "replace").strip()


def _tar_bytes(archive: tarfile.TarFile, member: tarfile.TarInfo, most: int) -> bytes:
    file = archive.extractfile(member)
    return file.read(most) if file is not None else b""


def tar_files(name: str, reader: Reader) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    """Name, size and content of each regular member, in archive order; the content is to be asked for before the next."""
    for archive, member in _members(name, reader):
        if member.isreg():
            yield member.name, member.size, partial(_tar_bytes, archive, member, member.size)


def tar_member(reader: Reader, member: Member) -> bytes:
    """Read one member of an uncompressed tar.

    Raises
    ------
    OSError
        If it is truncated, or too large for an image file.
    """
    if member.size > LARGEST:
        check_inflation(member.size, member.packed)
    data = b"" if member.start + member.size > reader.size else reader.range(member.start, member.start + member.size)
    if len(data) < member.size:
        raise OSError(errno.EIO, "the archive ends within it")
    return data


def streamed(name: str, reader: Reader, index: Index, wanted: set[str]) -> Iterator[tuple[str, bytes | OSError]]:
    """Read members of a compressed tar in one pass, in order; the last member of a name counts."""
    left: dict[int, list[str]] = {}
    for key, member in index.images.items():
        if key in wanted:
            left.setdefault(member.start, []).append(key)
    try:
        for archive, member in _members(name, reader):
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
    except (*DAMAGED, OSError):
        pass  # missing members are reported below
    for keys in left.values():
        yield from ((key, OSError(errno.EIO, "the archive ends within it")) for key in keys)
