"""Memory limit for reading and decoding: projected before allocation, and shared by the threads of a process.

Inside `one_image`, a decoder claims the memory it will use (`need`). It waits while other threads hold too much, and is refused if its
own claim exceeds the limit. Claims are released when the image is done. No thread waits while holding a claim, so there is no
deadlock.

    with bounded(memory):            # of a batch: --memory, or what is free
        with one_image():
            need(size of the file)   # before it is read
            need(projected bytes)    # before it is decoded: replaces the first claim

Files that are loaded once and cached (a volume, an MNIST archive) are claimed by their readers with `need` as well.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")
FRACTION = 0.6  # of the free memory
LARGEST = 2**30  # maximum bytes of an image file
OVER = "takes more memory than"  # prefix of reasons that a larger --memory may resolve


class OverBudget(MemoryError):
    """An operation would exceed the memory limit; the message has both numbers."""


class _Ledger:
    """Total bytes claimed by images in progress."""

    def __init__(self) -> None:
        self.held = 0
        self._free = threading.Condition()

    def take(self, count: int, limit: int) -> None:
        with self._free:
            self._free.wait_for(lambda: self.held + count <= limit or not self.held)
            self.held += count

    def give(self, count: int) -> None:
        if not count:
            return
        with self._free:
            self.held -= count
            self._free.notify_all()


ledger = _Ledger()
_limit: ContextVar[int | None] = ContextVar("limit", default=None)
_held: ContextVar[list[int] | None] = ContextVar("held", default=None)


def available() -> int:
    """Default memory limit, bytes."""
    import psutil

    return int(psutil.virtual_memory().available * FRACTION)


@contextmanager
def bounded(memory: int | None, workers: int = 1) -> Iterator[None]:
    """Limit the memory of all threads of this process, in bytes; None: a fraction of the free memory, divided by the workers."""
    token = _limit.set(available() // max(1, workers) if memory is None else memory)
    try:
        yield
    finally:
        _limit.reset(token)


def inherited(function: Callable[..., Result]) -> Callable[..., Result]:
    """Wrap a function to run under the caller's limit, for thread pools, whose threads do not inherit it."""
    limit = _limit.get()

    def run(*arguments: Any) -> Result:
        token = _limit.set(limit)
        try:
            return function(*arguments)
        finally:
            _limit.reset(token)

    return run


@contextmanager
def one_image() -> Iterator[None]:
    """Context of one image: releases on exit what `need` claimed."""
    held = [0]
    token = _held.set(held)
    try:
        yield
    finally:
        _held.reset(token)
        ledger.give(held[0])


def need(count: int) -> None:
    """Claim bytes for the current image, replacing its earlier claim; outside an image, only check the limit.

    Raises
    ------
    OverBudget
        If the claim exceeds the limit.
    """
    limit = allowed()
    if count > limit:
        raise OverBudget(f"{OVER} --memory allows ({in_words(count)} of {in_words(limit)})")
    held = _held.get()
    if held is None or count <= held[0]:
        return
    ledger.give(held[0])
    held[0] = 0
    ledger.take(count, limit)
    held[0] = count


def allowed() -> int:
    """The current limit, bytes."""
    limit = _limit.get()
    return available() if limit is None else limit


def in_words(count: int) -> str:
    """Bytes in readable units.

    >>> in_words(5 * 2**30), in_words(3 * 2**20), in_words(17)
    ('5.0 GiB', '3.0 MiB', '17 bytes')
    """
    for unit, size in (("GiB", 2**30), ("MiB", 2**20)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count:,} bytes"


def read_whole(path: str | Path, most: int = LARGEST) -> bytes:
    """Read a possible image file. A file of size 0 is read as empty, since kernel logs and pipes would block.

    Raises
    ------
    OSError
        If it cannot be read, or has more than `most` bytes (also if it grows meanwhile, or is sparse).
    OverBudget
        See `need`.
    """
    with open(path, "rb") as file:  # noqa: PTH123 - a million files, no Path for each
        size = os.fstat(file.fileno()).st_size
        refuse_size(size, most)
        need(size)
        # reads the reported size: asking for the maximum would allocate that much for each file
        data = file.read(min(size, most) + 1) if size else b""
        if len(data) > size:  # the file is growing
            data += file.read(most + 1 - len(data))
    refuse_size(len(data), most)
    return data


def refuse_size(size: int, most: int = LARGEST) -> None:
    """Refuse a possible image file that is too large.

    Raises
    ------
    OSError
        If it has more than `most` bytes.
    """
    if size > most:
        raise OSError(errno.EFBIG, f"it has {size:,} bytes, more than an image file should have ({in_words(most)})")
