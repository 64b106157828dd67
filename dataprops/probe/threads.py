"""Parallel execution for the probe: batches in parallel, each on one thread, so that results do not depend on the number of cores."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

import torch

from dataprops.util.tools import cores

Piece = TypeVar("Piece")
_here = threading.local()


def in_threads(work: Callable[[Piece], Any], pieces: Sequence[Piece]) -> list[Any]:
    """Apply `work` to all pieces, one per core at a time; results are in order and independent of the number of cores."""
    if min(cores(), len(pieces)) < 2 or getattr(_here, "works", False):
        return [work(piece) for piece in pieces]
    return list(_pool().map(work, pieces))


@cache
def _pool() -> ThreadPoolExecutor:
    """Kept, as the probe has a hundred short calls, and starting two threads takes longer than many of these."""
    return ThreadPoolExecutor(cores(), "probe", initializer=_begin)


def _begin() -> None:
    torch.set_num_threads(1)  # the setting is per thread
    _here.works = True  # a call from here would wait for itself


os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork
