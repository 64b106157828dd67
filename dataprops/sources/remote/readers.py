"""Random access to one file, local or at an address, kept open by the process while the file is the same."""

from __future__ import annotations

import errno
import io
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from dataprops.sources.remote.connections import Access, patiently, scheme_of, system_of
from dataprops.util.cache import Cache
from dataprops.util.redact import is_url

WHOLE = 2**30  # bytes of a container that is held in memory where a server sends no ranges
MINUTES_KNOWN = 15  # that an open remote container is taken to be the same


class Reader(NamedTuple):
    """Random access to one file; `range` may be called by several threads at once.

    Attributes
    ----------
    size : int
        Bytes.
    range : callable
        range(start, stop) -> bytes; shorter only where the file ends.
    """

    size: int
    range: Callable[[int, int], bytes]

    def file(self, buffer: int = 2**18) -> io.BufferedReader:
        """A seekable file of its own over it."""
        return io.BufferedReader(_RangeFile(self), buffer)


class _RangeFile(io.RawIOBase):
    def __init__(self, reader: Reader) -> None:
        self.reader, self.at = reader, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        at = offset + (0, self.at, self.reader.size)[whence]
        if at < 0:
            raise OSError(errno.EINVAL, "a place before the file's start")
        self.at = at
        return at

    def readinto(self, buffer: Any) -> int:
        data = self.reader.range(self.at, min(self.at + len(buffer), self.reader.size))
        buffer[: len(data)] = data
        self.at += len(data)
        return len(data)


_readers: Cache[Reader] = Cache(64)


def open_reader(location: str, access: Access = Access()) -> Reader:  # noqa: B008
    """Random access to a file, kept by the process while the file is the same.

    Raises
    ------
    OSError
        If it cannot be opened.
    """
    return _readers.get(
        identity(location, access), lambda: _remote(location, access) if is_url(location) else _local(location)
    )


def identity(location: str, access: Access = Access()) -> tuple:  # noqa: B008
    """What an open file is known by: a local one by its size and times, a remote one for some minutes."""
    if is_url(location):
        return location, access, int(time.monotonic() / 60 / MINUTES_KNOWN)
    found = os.stat(location)  # noqa: PTH116
    return location, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _local(location: str) -> Reader:
    if not stat.S_ISREG(os.stat(location).st_mode):  # noqa: PTH116 - a pipe would block who opens it
        raise OSError(errno.EINVAL, "not a file")
    file = Path(location).open("rb")  # noqa: SIM115 - closed when no thread holds the reader any more

    def fetch(start: int, stop: int) -> bytes:
        parts = []
        while start < stop:
            part = os.pread(file.fileno(), stop - start, start)
            if not part:
                break
            parts.append(part)
            start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    return Reader(os.fstat(file.fileno()).st_size, fetch)


def _remote(location: str, access: Access) -> Reader:
    system, path = system_of(location, access)
    size = patiently(lambda: system.info(path))["size"]
    if size is None:
        raise OSError(errno.EIO, "the server does not tell its size")
    if scheme_of(location).startswith("http") and size > 1:
        # a server that knows no ranges answers with the whole file
        if size <= WHOLE:
            first = patiently(lambda: system.cat_file(path, start=0, end=1))
            if len(first) == size:
                return Reader(size, lambda start, stop: first[start:stop])
        elif not _sends_ranges(system, path):
            raise OSError(errno.EIO, "the server sends no ranges, and the file is too large to hold in memory")

    def fetch(start: int, stop: int) -> bytes:
        if start >= stop:
            return b""
        data = patiently(lambda: system.cat_file(path, start=start, end=stop))
        if len(data) > stop - start:
            raise OSError(errno.EIO, "the server sends more than was asked for")
        return data

    return Reader(size, fetch)


def _sends_ranges(system: Any, path: str) -> bool:
    """Whether a HTTP server honours a range, asked without reading the answer's body."""
    import fsspec.asyn

    async def ask() -> bool:
        session = await system.set_session()
        async with session.get(system.encode_url(path), headers={"Range": "bytes=0-0"}) as answer:
            answer.raise_for_status()
            return answer.status == 206

    return patiently(lambda: fsspec.asyn.sync(system.loop, ask))  # pyright: ignore[reportReturnType]
