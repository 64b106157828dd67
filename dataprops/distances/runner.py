"""Execution settings of a pass."""

from __future__ import annotations

from typing import NamedTuple

from dataprops.distances.handover import JobPool
from dataprops.distances.tiles import EDGE


class Runner(NamedTuple):
    """Where and how pairs are computed; never changes the result.

    Attributes
    ----------
    threads : int
        Threads of this process.
    device : str
        "cpu", or a torch device such as "cuda".
    pool : callable, optional
        Runs jobs on workers; see `handover.JobPool`.
    edge : int
        Rows of a tile on CPUs; set from the plan of a pass.
    """

    threads: int = 1
    device: str = "cpu"
    pool: JobPool | None = None
    edge: int = EDGE
