"""Nearest neighbours of float vectors (representations), exact to float64 with products in float32.

In float32, |a|^2 + |b|^2 - 2 a.b suffers from cancellation exactly where it matters, between near-duplicates. So it only selects
candidates: after centring, the error of the computed product of two float32 vectors of D features is at most
(D + 4) 2^-24 |a| |b| (Higham 2002, section 3.1, any order of summation, rounding of the inputs included), hence

    |a - b|^2  >=  (|a|^2 + |b|^2) (1 - c) - 2 fl(a.b),   c = (D + 4) 2^-24,

and a pair whose bound exceeds the current k-th distances of both rows is pruned. Every other pair is decided by the sum of squared
differences in float64. If the bound is useless (vectors much closer to each other than to their mean), all pairs are decided that
way: slower, never wrong.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from dataprops.distances.kernel import STRIP, after, push
from dataprops.distances.state import empty, finalize
from dataprops.distances.tiles import triangle_tiles
from dataprops.errors import DatapropsError
from dataprops.util.compiled import njit

UNIT_ROUNDOFF = 2.0**-24
UNDERFLOW = 2.0**-120  # generous allowance for underflow in float32 products
EDGE, SMALLEST_EDGE = 1024, 16
TILE_MEMORY = 512 * 2**20  # bytes of the two strips of a tile, in float64 and float32


@njit(nogil=True, cache=True, inline="always")
def _may_matter(g, low_i, low_b, reach_i, reach_b):
    hit = 0
    for j in range(g.shape[0]):
        hit |= low_i + low_b[j] - 2.0 * g[j] <= max(reach_i, reach_b[j])
    return hit != 0


@njit(nogil=True, cache=True, inline="always")
def _squared_distance(a, b):
    total = 0.0
    for f in range(a.shape[0]):
        step = a[f] - b[f]
        total += step * step
    return total


class _Strip(NamedTuple):
    """Rows of one side of a tile: float64 vectors, their terms of the lower bound, number of the first row, and neighbour heaps."""

    exact: np.ndarray
    low: np.ndarray
    first: int
    d2: np.ndarray
    number: np.ndarray


@njit(nogil=True, cache=True)
def _reduce(g, a, b, triangle):
    """Fold a tile of float32 products into the neighbour heaps of its rows and columns; returns the pairs decided."""
    m, n = g.shape
    reach_b = b.d2[:, 0].copy()
    decided = 0
    for i in range(m):
        reach_i = a.d2[i, 0]
        start = i + 1 if triangle else 0
        while start < n:
            stop = min(n, start + STRIP)
            if _may_matter(g[i, start:stop], a.low[i], b.low[start:stop], reach_i, reach_b[start:stop]):
                for j in range(start, stop):
                    if a.low[i] + b.low[j] - 2.0 * g[i, j] > max(reach_i, reach_b[j]):
                        continue
                    d2 = _squared_distance(a.exact[i], b.exact[j])
                    decided += 1
                    if after(a.d2[i, 0], a.number[i, 0], d2, np.int32(b.first + j)):
                        push(a.d2[i], a.number[i], d2, np.int32(b.first + j))
                        reach_i = a.d2[i, 0]
                    if after(b.d2[j, 0], b.number[j, 0], d2, np.int32(a.first + i)):
                        push(b.d2[j], b.number[j], d2, np.int32(a.first + i))
                        reach_b[j] = b.d2[j, 0]
            start = stop
    return decided


class _Frame(NamedTuple):
    """Shift and scale that bring vectors into the range of float32: their mean, and a power of two."""

    centre: np.ndarray
    scale: float


def _frame(vectors: np.ndarray, edge: int) -> _Frame:
    n, features = vectors.shape
    starts = range(0, n, edge)
    centre = sum((vectors[s : s + edge].sum(axis=0, dtype=np.float64) for s in starts), np.zeros(features)) / max(1, n)
    if not np.isfinite(centre).all():
        raise DatapropsError(
            "the vectors contain NaN or infinite values: a diverged network has no representation to measure"
        )
    # scaling by a power of two is exact, and prevents overflow of float32 products
    top = max((float(np.abs(vectors[s : s + edge] - centre).max(initial=0.0)) for s in starts), default=0.0)
    return _Frame(centre, 2.0 ** -np.ceil(np.log2(top)) if top > 0 else 1.0)


def nearest_vectors(vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest other vectors of each vector.

    Parameters
    ----------
    vectors : float32 or float64 [n, D]
        An array or memory map, read a strip at a time; finite.
    k : int
        Neighbours.

    Returns
    -------
    distance : float64 [n, k]
        Ascending, ties by index; infinite where there are fewer than k others. Identical vectors are neighbours at 0.
    neighbour : int32 [n, k]
        `kernel.EMPTY` where there are fewer.

    Raises
    ------
    DatapropsError
        If a value is NaN or infinite.
    """
    n, features = vectors.shape
    edge = int(np.clip(TILE_MEMORY // (2 * 12 * max(1, features)), SMALLEST_EDGE, EDGE))
    frame = _frame(vectors, edge)
    margin = 1.0 - (features + 4) * UNIT_ROUNDOFF
    slack = (features + 4) * UNDERFLOW
    state = empty(n, k)

    def strip(rows: slice) -> tuple[torch.Tensor, _Strip]:
        exact = np.asarray(vectors[rows], np.float64)
        centred = (exact - frame.centre) * frame.scale
        low = (centred * centred).sum(axis=1) * margin - slack
        part = state.part(rows)
        rounded = torch.from_numpy(centred.astype(np.float32))
        return rounded, _Strip(exact * frame.scale, low, rows.start, part.knn_d2, part.knn_index)

    held: tuple[slice, tuple[torch.Tensor, _Strip]] | None = None
    for tile in triangle_tiles(n, edge) if k else ():
        if held is None or held[0] != tile.rows:
            held = tile.rows, strip(tile.rows)
        a32, a = held[1]
        b32, b = held[1] if tile.triangle else strip(tile.columns)
        _reduce((a32 @ b32.t()).numpy(), a, b, tile.triangle)
    final = finalize(state)
    return np.sqrt(final.knn_d2) / frame.scale, final.knn_index
