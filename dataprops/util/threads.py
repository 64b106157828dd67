"""Threads of numerical libraries: how they wait, and products on a single one."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


def wait_asleep() -> None:
    """Let OpenMP's idle threads sleep instead of spinning on a core that another process needs; before torch is imported.

    For entry points of this program only. A policy of the user's own is kept.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run torch products on one thread: they are small, and threads would wait for each other on busy cores."""
    from threadpoolctl import threadpool_limits

    torch = sys.modules.get("torch")  # it is not imported for this
    threads = 1 if torch is None else torch.get_num_threads()
    try:
        if torch is not None:
            torch.set_num_threads(1)
        with threadpool_limits(1):
            yield
    finally:
        if torch is not None:
            torch.set_num_threads(threads)
