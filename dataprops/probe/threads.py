"""Parallel execution for the probe: batches in parallel, each on one thread, so that results do not depend on the number of cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch

from dataprops.util.tools import cores

Piece = TypeVar("Piece")


def in_threads(work: Callable[[Piece], Any], pieces: Sequence[Piece]) -> list[Any]:
    """Apply `work` to all pieces, one per core at a time; results are in order and independent of the number of cores."""
    workers = min(cores(), len(pieces))
    if workers < 2:
        return [work(piece) for piece in pieces]

    def alone(piece: Piece) -> Any:
        torch.set_num_threads(1)  # the setting is per thread
        return work(piece)

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(alone, pieces))
