"""Messages to and from the workers of a pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from dataprops.distances.rows import Rows
from dataprops.distances.sketch import Basis, Sketch
from dataprops.distances.state import Found, PassSpec


class JobSide(NamedTuple):
    """One side of a job: row numbers, upper bounds of the k-th squared distances, and sketches if known."""

    number: np.ndarray
    bound: np.ndarray | None = None
    sketch: Sketch | None = None


class JobArguments(NamedTuple):
    """Arguments of one job; without side b: all pairs within a; without a basis: no sketches.

    `both`: results for the rows of b are returned too. `edge`: rows of a tile.
    """

    number: int
    rows: Rows
    a: JobSide
    b: JobSide | None
    both: bool
    spec: PassSpec
    basis: Basis | None
    edge: int


class JobResult(NamedTuple):
    """Results of one job for its blocks (found_b None if only block a was requested), and any sketches it computed."""

    found_a: Found
    found_b: Found | None
    near: tuple[np.ndarray, np.ndarray, np.ndarray]
    near_count: int
    sketch_a: Sketch | None
    sketch_b: Sketch | None


# A pool runs `compute_job` on the given arguments in any order; it consumes them lazily, when a worker is free, and yields
# (number, result) in order of completion.
JobPool = Callable[[Iterable[JobArguments]], Iterator[tuple[int, JobResult]]]
