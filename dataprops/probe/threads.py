"""Where the probe's work runs: products on one thread each, batches beside each other, so that results do not depend on the cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch

from dataprops.util.tools import cores

Piece = TypeVar("Piece")


def in_threads(work: Callable[[Piece], Any], pieces: Sequence[Piece]) -> list[Any]:
    """The results of all pieces in their order; as many at once as there are cores. Each is the same whatever runs beside it."""
    workers = min(cores(), len(pieces))
    if workers < 2:
        return [work(piece) for piece in pieces]

    def alone(piece: Piece) -> Any:
        torch.set_num_threads(1)  # torch keeps the number for each thread
        return work(piece)

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(alone, pieces))
