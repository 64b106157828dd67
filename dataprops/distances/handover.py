"""What travels to whoever computes a job of a pass, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from dataprops.distances.rows import Rows
from dataprops.distances.sketch import Basis, Sketch
from dataprops.distances.state import Found, PassSpec


class JobSide(NamedTuple):
    """Rows of one side of a job: their numbers, upper bounds of their k-th squared distances and their sketches, if known."""

    number: np.ndarray
    bound: np.ndarray | None = None
    sketch: Sketch | None = None


class JobArguments(NamedTuple):
    """All that a worker needs for one job; without a side b all pairs within a, without a basis there are no sketches.

    `both`: the rows of b are asked for, too. `edge`: rows of a tile.
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
    """What one job found for its blocks (found_b None if only block a was asked for), and the sketches that it had to make."""

    found_a: Found
    found_b: Found | None
    near: tuple[np.ndarray, np.ndarray, np.ndarray]
    near_count: int
    sketch_a: Sketch | None
    sketch_b: Sketch | None


# A pool computes `compute_job` for the arguments it is given, in any order and place; it takes them one by one, when a worker is
# free for the next, and yields (number, result) as results come.
JobPool = Callable[[Iterable[JobArguments]], Iterator[tuple[int, JobResult]]]
