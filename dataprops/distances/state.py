"""What a pass over pairs collects, as data: empty, fold in (`kernel.reduce_tile`), merge, finalize.

Every part has a fixed width and a total order, so any tiling, any number of workers, a resumed and an incremental run end in
bit-equal results.
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
        Labels are numbers (sharpness (y_i - y_j)^2 / d^2) rather than classes (1 / d^2 where they differ).
    near2 : float
        Squared near-duplicate distance; negative = do not collect near pairs.
    near_limit : int
        Near pairs listed at most; all are counted.
    sharp : bool
        Collect the sharpest pair of each row.
    """

    __slots__ = ()

    def __new__(
        cls, k: int, numeric: bool = False, near2: float = -1.0, near_limit: int = 1_000_000, sharp: bool = True
    ) -> PassSpec:
        # an int for near2 would have the compiled kernels compute distances in integers
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
    """The same rows, as a slice where they are a run: nothing is copied then."""
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
        Upper bounds of the k-th squared distances, if known: pairs beyond are pruned at once. They never change a result
        that is merged with the pairs the bounds came from.
    """
    d2 = np.full((n, k), np.inf)
    if bound is not None and k:
        d2[:] = bound[:, None]
    return State(d2, np.full((n, k), EMPTY, np.int32), np.zeros(n), np.zeros(n), np.full(n, EMPTY, np.int32))


class Found(NamedTuple):
    """What a state holds, without its empty places: what travels from a worker.

    Once neighbours are known most pairs of a job are pruned by their bounds, so little is left to send.

    Attributes
    ----------
    row, d2, neighbour : int32, float64, int32 [e]
        Neighbours: of the row at this position, its squared distance and number.
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
    """The filled places of a state."""
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
    """Fold what another state of the same rows holds into `into`; no pair may be in both."""
    if into.k:
        kernel.push_entries(into, found)
    kernel.push_sharpest(into, found)


def finalize(state: State) -> State:
    """Neighbours in ascending order of (distance, index); empty slots last as (inf, EMPTY). A new state."""
    d2, index = np.empty_like(state.knn_d2), np.empty_like(state.knn_index)
    kernel.sort_heaps(state.knn_d2, state.knn_index, d2, index)
    return state._replace(knn_d2=d2, knn_index=index)


class NearPairs:
    """Near-identical pairs, the closest `limit` of them in full and the number of all; safe to use from several threads.

    Truncation keeps the smallest by (d2, a, b), so the outcome does not depend on the order of arrival.
    """

    def __init__(self, limit: int = 1_000_000):
        self.limit = limit
        self.count = 0
        self._lock = threading.Lock()
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._held = 0

    def add(self, a: np.ndarray, b: np.ndarray, d2: np.ndarray, count: int | None = None) -> None:
        """Add pairs of row numbers; `count` when they stand for more pairs than are listed (a truncated part)."""
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
