"""Where and how a pass is computed."""

from __future__ import annotations

from typing import NamedTuple

from dataprops.distances.handover import JobPool
from dataprops.distances.tiles import EDGE


class Runner(NamedTuple):
    """Where and how pairs are computed; it changes the time, never the result.

    Attributes
    ----------
    threads : int
        Of this process.
    device : str
        "cpu", or a torch device such as "cuda".
    pool : callable, optional
        Computes jobs elsewhere; see `handover.JobPool`.
    edge : int
        Rows of a tile on CPUs; a pass takes it from its plan.
    """

    threads: int = 1
    device: str = "cpu"
    pool: JobPool | None = None
    edge: int = EDGE
