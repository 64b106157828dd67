"""How much memory reading and decoding may take: projected before it is taken, counted over the threads of a process.

A decoder says what it will take (`need`), inside `one_image`; where other threads hold too much it waits, and where it alone
would take more than is allowed it is refused. What is held is given back when the image is done. Nobody waits
while it holds something, so threads cannot block each other.

    with bounded(memory):            # of a batch: --memory, or what is free
        with one_image():
            need(size of the file)   # before it is read
            need(projected bytes)    # before it is decoded: replaces the first claim

Files of another kind (a volume, the whole of an archive that MNIST comes in) are loaded once and kept: their readers call `need` too.
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
FRACTION = 0.6  # of what is free: the machine has other things to do
LARGEST = 2**30  # bytes of one image file
OVER = "takes more memory than"  # how reasons begin that another --memory may mend


class OverBudget(MemoryError):
    """An operation would exceed the memory limit; the message has both numbers."""


class _Ledger:
    """Bytes that images in work hold together."""

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
    """Limit the memory of all threads of this process, bytes; None: a fraction of what is free, divided by the workers."""
    token = _limit.set(available() // max(1, workers) if memory is None else memory)
    try:
        yield
    finally:
        _limit.reset(token)


def inherited(function: Callable[..., Result]) -> Callable[..., Result]:
    """The function, under the limit of the thread that calls this: for pools, whose threads know of none."""
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
    """Release at the end what `need` claims inside."""
    held = [0]
    token = _held.set(held)
    try:
        yield
    finally:
        _held.reset(token)
        ledger.give(held[0])


def need(count: int) -> None:
    """Claim bytes for the current image, replacing its earlier claim; outside of an image, only check that they are allowed.

    Raises
    ------
    OverBudget
        If they are more than is allowed.
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
    """Bytes that may be used now."""
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
    """The bytes of a file that may be an image. One without a size is empty: a log of the kernel would be waited for.

    Raises
    ------
    OSError
        If it cannot be read, or has more than `most` bytes (also one that grows meanwhile, or that has holes).
    OverBudget
        See `need`.
    """
    with open(path, "rb") as file:  # noqa: PTH123 - a million files, no Path for each
        size = os.fstat(file.fileno()).st_size
        refuse_size(size, most)
        need(size)
        # as long as it says it is: room for the largest would be asked of the system for each file
        data = file.read(min(size, most) + 1) if size else b""
        if len(data) > size:  # it grows
            data += file.read(most + 1 - len(data))
    refuse_size(len(data), most)
    return data


def refuse_size(size: int, most: int = LARGEST) -> None:
    """Refuse a file that may be an image by its bytes.

    Raises
    ------
    OSError
        If it has more than `most`.
    """
    if size > most:
        raise OSError(errno.EFBIG, f"it has {size:,} bytes, more than an image file should have ({in_words(most)})")
