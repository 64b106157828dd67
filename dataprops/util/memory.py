"""Measure the working memory of a process, without file-backed pages."""

from __future__ import annotations

import ctypes
import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SECONDS = 0.05


def own_memory() -> int:
    """Anonymous memory of this process on Linux, all resident memory elsewhere; bytes."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import psutil

    return int(psutil.Process().memory_info().rss)


def give_back() -> None:
    """Collect cycles, and return to the system what was freed: glibc keeps it, piece by piece between what is still in use.

    For processes that stay, in which cycles are collected seldom otherwise (`dataprops.util.garbage`). Elsewhere than on Linux with
    glibc cycles are collected, and no more.
    """
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class Peak:
    """Peak memory above the initial one, bytes."""

    def __init__(self) -> None:
        self.start = own_memory()
        self.bytes = 0

    def look(self) -> None:
        """Take a sample."""
        self.bytes = max(self.bytes, own_memory() - self.start)


@contextmanager
def measured_memory() -> Iterator[Peak]:
    """Sample the memory many times a second while the body runs."""
    peak, done = Peak(), threading.Event()

    def watch() -> None:
        while not done.wait(SECONDS):
            peak.look()

    thread = threading.Thread(target=watch, name="memory", daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()
        peak.look()
