"""Random access to a local or remote file, kept open by the process until the file changes."""

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

WHOLE = 2**30  # maximum size of a container held in memory if a server supports no ranges, bytes
MINUTES_KNOWN = 15  # minutes for which a remote container is assumed unchanged


class Reader(NamedTuple):
    """Random access to one file; `range` is thread-safe.

    Attributes
    ----------
    size : int
        File size, bytes.
    range : callable
        range(start, stop) -> bytes; shorter only at the end of the file.
    """

    size: int
    range: Callable[[int, int], bytes]

    def file(self, buffer: int = 2**18) -> io.BufferedReader:
        """A new seekable file object over the reader."""
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
            raise OSError(errno.EINVAL, "an offset before the start of the file")
        self.at = at
        return at

    def readinto(self, buffer: Any) -> int:
        data = self.reader.range(self.at, min(self.at + len(buffer), self.reader.size))
        buffer[: len(data)] = data
        self.at += len(data)
        return len(data)


_readers: Cache[Reader] = Cache(64)


def open_reader(location: str, access: Access = Access()) -> Reader:  # noqa: B008
    """Open a file for random access; cached by the process until the file changes.

    Raises
    ------
    OSError
        If it cannot be opened.
    """
    return _readers.get(
        identity(location, access), lambda: _remote(location, access) if is_url(location) else _local(location)
    )


def identity(location: str, access: Access = Access()) -> tuple:  # noqa: B008
    """Cache key of an open file: size and times if local; if remote, the URL for `MINUTES_KNOWN` minutes."""
    if is_url(location):
        return location, access, int(time.monotonic() / 60 / MINUTES_KNOWN)
    found = os.stat(location)  # noqa: PTH116
    return location, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _local(location: str) -> Reader:
    if not stat.S_ISREG(os.stat(location).st_mode):  # noqa: PTH116 - opening a pipe would block
        raise OSError(errno.EINVAL, "not a file")
    file = Path(location).open("rb")  # noqa: SIM115 - closed when the last thread releases the reader

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
        raise OSError(errno.EIO, "the server does not report its size")
    if scheme_of(location).startswith("http") and size > 1:
        # a server without range support returns the whole file
        if size <= WHOLE:
            first = patiently(lambda: system.cat_file(path, start=0, end=1))
            if len(first) == size:
                return Reader(size, lambda start, stop: first[start:stop])
        elif not _sends_ranges(system, path):
            raise OSError(errno.EIO, "the server does not support range requests, and the file is too large for memory")

    def fetch(start: int, stop: int) -> bytes:
        if start >= stop:
            return b""
        data = patiently(lambda: system.cat_file(path, start=start, end=stop))
        if len(data) > stop - start:
            raise OSError(errno.EIO, "the server sent more than was requested")
        return data

    return Reader(size, fetch)


def _sends_ranges(system: Any, path: str) -> bool:
    """Whether an HTTP server honours range requests, tested without reading the response body."""
    import fsspec.asyn

    async def ask() -> bool:
        session = await system.set_session()
        async with session.get(system.encode_url(path), headers={"Range": "bytes=0-0"}) as answer:
            answer.raise_for_status()
            return answer.status == 206

    return patiently(lambda: fsspec.asyn.sync(system.loop, ask))  # pyright: ignore[reportReturnType]
