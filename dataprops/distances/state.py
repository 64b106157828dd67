"""The state of a pass over pairs: empty, fold (`kernel.reduce_tile`), merge, finalize.

Every field has a fixed width and a total order, so results are bit-equal for any tiling and number of workers, and after a resumed
or incremental run.
"""

from __future__ import annotations

import threading
from typing import NamedTuple

import numpy as np

from dataprops.distances import kernel
from dataprops.distances.kernel import EMPTY


class _Spec(NamedTuple):
    k: int
    numeric: bool
    near2: float
    near_limit: int
    sharp: bool


class PassSpec(_Spec):
    """What to collect.

    Attributes
    ----------
    k : int
        Neighbours of each row; 0 = none.
    numeric : bool
        Labels are numbers (squared sharpness (y_i - y_j)^2 / d^2) rather than classes (1 / d^2 where they differ).
    near2 : float
        Squared near-duplicate distance; negative: near pairs are not collected.
    near_limit : int
        Maximum number of near pairs listed; all are counted.
    sharp : bool
        Collect the sharpest pair of each row.
    """

    __slots__ = ()

    def __new__(
        cls, k: int, numeric: bool = False, near2: float = -1.0, near_limit: int = 1_000_000, sharp: bool = True
    ) -> PassSpec:
        # with an int near2 numba would compile the kernels for integer distances
        return super().__new__(cls, int(k), bool(numeric), float(near2), int(near_limit), bool(sharp))


class State(NamedTuple):
    """The running result of n rows. Arrays are updated in place.

    Attributes
    ----------
    knn_d2, knn_index : float64 [n, k], int32 [n, k]
        Max-heap of the k nearest rows by (squared distance, index); see `kernel`.
    sharp : float64 [n]
        Squared label sharpness of the row's sharpest pair, (y_i - y_j)^2 / d^2; 0 = none yet.
    sharp_d2, sharp_index : float64 [n], int32 [n]
        That pair's squared distance and other row.
    """

    knn_d2: np.ndarray
    knn_index: np.ndarray
    sharp: np.ndarray
    sharp_d2: np.ndarray
    sharp_index: np.ndarray

    @property
    def k(self) -> int:
        return self.knn_d2.shape[1]

    def part(self, rows: slice | np.ndarray) -> State:
        """Some rows: views of a slice, else copies."""
        return State(*(array[rows] for array in self))


def run_of(index: np.ndarray) -> slice | np.ndarray:
    """The row numbers as a slice if they are contiguous, which avoids copies."""
    run = len(index) > 0 and index[-1] - index[0] == len(index) - 1 and bool(np.all(np.diff(index) == 1))
    return slice(int(index[0]), int(index[-1]) + 1) if run else index


def state_bytes(n: int, k: int) -> int:
    """Memory of the state of n rows, in bytes."""
    return n * (12 * k + 20)


def empty(n: int, k: int, bound: np.ndarray | None = None) -> State:
    """A state that has seen no pair.

    Parameters
    ----------
    bound : float64 [n], optional
        Upper bounds of the k-th squared distances, if known: pairs beyond them are pruned at once. The result is the same once
        merged with the pairs from which the bounds came.
    """
    d2 = np.full((n, k), np.inf)
    if bound is not None and k:
        d2[:] = bound[:, None]
    return State(d2, np.full((n, k), EMPTY, np.int32), np.zeros(n), np.zeros(n), np.full(n, EMPTY, np.int32))


class Found(NamedTuple):
    """The filled entries of a state, as sent by a worker.

    Once neighbours are known, most pairs of a job are pruned by their bounds, so this is small.

    Attributes
    ----------
    row, d2, neighbour : int32, float64, int32 [e]
        Neighbours: position of the row, squared distance, number of the neighbour.
    sharp_row, sharp, sharp_d2, sharp_index : int32, float64, float64, int32 [s]
        Sharpest pairs of these rows.
    """

    row: np.ndarray
    d2: np.ndarray
    neighbour: np.ndarray
    sharp_row: np.ndarray
    sharp: np.ndarray
    sharp_d2: np.ndarray
    sharp_index: np.ndarray


def found_in(state: State) -> Found:
    """The filled entries of a state."""
    rows, slots = np.nonzero(state.knn_index != EMPTY)
    sharp = np.nonzero(state.sharp > 0.0)[0]
    return Found(
        rows.astype(np.int32),
        state.knn_d2[rows, slots],
        state.knn_index[rows, slots],
        sharp.astype(np.int32),
        state.sharp[sharp],
        state.sharp_d2[sharp],
        state.sharp_index[sharp],
    )


def merge(into: State, found: Found) -> None:
    """Merge the entries of another state of the same rows into `into`; no pair may be in both."""
    if into.k:
        kernel.push_entries(into, found)
    kernel.push_sharpest(into, found)


def finalize(state: State) -> State:
    """Neighbours in ascending order of (distance, index); empty slots last as (inf, EMPTY). A new state."""
    d2, index = np.empty_like(state.knn_d2), np.empty_like(state.knn_index)
    kernel.sort_heaps(state.knn_d2, state.knn_index, d2, index)
    return state._replace(knn_d2=d2, knn_index=index)


class NearPairs:
    """The `limit` closest near-identical pairs, and the number of all; thread-safe.

    Truncation keeps the smallest by (d2, a, b), so the result does not depend on the order of insertion.
    """

    def __init__(self, limit: int = 1_000_000):
        self.limit = limit
        self.count = 0
        self._lock = threading.Lock()
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._held = 0

    def add(self, a: np.ndarray, b: np.ndarray, d2: np.ndarray, count: int | None = None) -> None:
        """Add pairs of row numbers; `count` is the number they stand for if the list was truncated."""
        with self._lock:
            self.count += len(a) if count is None else count
            self._parts.append((np.minimum(a, b), np.maximum(a, b), d2.copy()))
            self._held += len(a)
            if self._held > 2 * self.limit:
                self._shorten()

    def _shorten(self) -> None:
        a, b, d2 = (np.concatenate(column) for column in zip(*self._parts, strict=True))
        order = np.lexsort((b, a, d2))[: self.limit]
        self._parts = [(a[order], b[order], d2[order])]
        self._held = len(order)

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(a, b, d2), int32, int32, float64, ordered by (d2, a, b), a < b."""
        with self._lock:
            if not self._parts:
                return np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0)
            self._shorten()
            return self._parts[0]
