"""zip archives: indexed once; each member is read by one byte range."""

from __future__ import annotations

import errno
import io
import os
import posixpath
import stat
import zipfile
from collections.abc import Callable, Iterator
from functools import partial

from dataprops.imaging.formats import HEAD, is_image
from dataprops.sources.account import REPEATED, UNSAFE, why_left_out
from dataprops.sources.containers.archive_index import BUFFER, DAMAGED, Index, Member, follow_links, plain_reason
from dataprops.sources.containers.members import check_inflation, kind_of_member, with_slashes
from dataprops.sources.remote.readers import Reader

LINK = 4096  # maximum size of a link's target, bytes


def zip_index(reader: Reader) -> Index:
    """Index a zip."""
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
            # zipfile truncates names at NUL
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
                others[name] = UNSAFE if kind == "unsafe" else why_left_out(name, head)
    follow_links(links, known, images, others)
    return Index(images, others, {}, {raw: name for raw, name in slashed.items() if raw != name})


def _zip_bytes(archive: zipfile.ZipFile, info: zipfile.ZipInfo, most: int) -> bytes:
    """The first bytes of a member; empty if it is corrupt or encrypted."""
    try:
        with archive.open(info) as file:
            return file.read(most)
    except (*DAMAGED, OSError, ValueError):
        return b""


def zip_files(reader: Reader) -> Iterator[tuple[str, int, Callable[[], bytes]]]:
    """Name, size and content of each member, in archive order."""
    with zipfile.ZipFile(reader.file(BUFFER)) as archive:
        for info in archive.infolist():
            yield info.filename, info.file_size, partial(_zip_bytes, archive, info, info.file_size)


def zip_member(reader: Reader, member: Member) -> bytes:
    """Read one member.

    Raises
    ------
    OSError
        If it is encrypted, corrupt or a decompression bomb.
    """
    info = member.info
    assert info is not None
    if info.flag_bits & 1:
        raise OSError(errno.EACCES, "the archive's member is encrypted")
    check_inflation(member.size, member.packed)
    if member.start + member.packed > reader.size:
        raise OSError(errno.EIO, "the archive is damaged: the member extends beyond the archive's end")
    head = 30 + len(info.orig_filename.encode()) + 2**10  # the local header, with space for its extra field
    data = reader.range(member.start, min(member.start + head + member.packed, reader.size))
    if data[:4] != b"PK\x03\x04" or len(data) < 30:
        raise OSError(errno.EIO, "the archive is damaged: there is no member header where one is expected")
    begin = 30 + int.from_bytes(data[26:28], "little") + int.from_bytes(data[28:30], "little")
    packed = data[begin : begin + member.packed]
    if len(packed) < member.packed:
        packed = reader.range(member.start + begin, member.start + begin + member.packed)
    try:
        with zipfile.ZipExtFile(io.BytesIO(packed), "r", info) as file:
            content = file.read(member.size)  # read() would decompress everything first
    except DAMAGED as error:
        raise OSError(errno.EIO, f"the archive is damaged: {plain_reason(error)}") from None
    if len(content) != member.size:
        raise OSError(errno.EIO, "the archive is damaged: the member is shorter than it should be")
    return content
