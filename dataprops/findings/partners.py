"""Which rows of two sets of directions are far closer than the closest usually are.

Small sets are compared row by row. Of large ones, pairs meet in buckets: the sides of a few random planes on which a direction lies
make a key, and two directions at a small angle have the same key with a known probability [1]_. With `TABLES` sets of planes, and as
many planes in each as that allows, a pair at the limit meets at least once with probability `MEET`, a closer one more surely. Pairs
that meet are compared by a signature of 64 planes, and what is left by their cosine: the time grows with the pairs that are near, not
with all. Where directions crowd in a few buckets, there is one bucket.

References
----------
.. [1] M. Charikar, Similarity estimation techniques from rounding algorithms, STOC (2002).
"""

from __future__ import annotations

import math

import numpy as np
import torch

BLOCKS = 4  # parts of the set, of each of which the best partner is looked at
USUAL = 300  # rows that say how close best partners usually are
STEP = 512  # rows compared at once
SMALL = 1500  # rows, below which all are compared: that takes less than the compiled kernel takes to load
TABLES, MOST_PLANES = 16, 16
MEET = 0.95  # probability that a pair at the limit has one key of `TABLES` in common
SIGNATURE = 64  # planes
# standard deviations of how many of them separate directions at the limit: if more do, they are not compared
DEVIATIONS = 2.0
CROWDED = 0.5  # of all pairs that meet in buckets: then one bucket is quicker


def close_partners(a: torch.Tensor, b: torch.Tensor, closer: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Rows of a with a partner among the rows of b whose 1 - cosine is below `closer` of what is usual, and these partners.

    The best partner of each of `BLOCKS` parts of the set counts; a row's own number is no partner. Where directions are dense all are
    near: a partner is then closer than the best of most other parts.

    Parameters
    ----------
    a, b : float32 [n, d]
        Of length 1; rows of zeros have no partner.

    Returns
    -------
    row, partner : int64 [m]
    some : int
        How many of them, at the beginning, are evenly spaced rows with their best partners, whatever these are.
    """
    n = len(a)
    edges = np.linspace(0, n, min(BLOCKS, n) + 1).astype(np.int64)
    shown = np.nonzero(a.any(1).numpy())[0]
    some = shown[:: max(1, len(shown) // USUAL)]
    if not len(some):
        return np.empty(0, np.int64), np.empty(0, np.int64), 0
    if n < SMALL:
        apart = 1 - _best(a, b, edges, np.arange(n))
        first = _partners(a, b, edges, some, apart[some].argmin(1))
        row, block = np.nonzero(apart < closer * _limit(apart, float(np.median(apart[shown].min(1))))[:, None])
        partner = _partners(a, b, edges, row, block)
    else:
        row, partner, first = _met(a, b, edges, some, closer)
    return np.concatenate([some, row]), np.concatenate([first, partner]), len(some)


def _limit(apart: np.ndarray, usual: float) -> np.ndarray:
    """What is usual at each row, from 1 - cosine of its best partner in each block [m, blocks]."""
    return np.minimum(max(usual, 1e-4), np.sort(apart, axis=1)[:, -1 - (apart.shape[1] > 3)])


def _met(
    a: torch.Tensor, b: torch.Tensor, edges: np.ndarray, some: np.ndarray, closer: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows with a close partner and these partners, by buckets; and the best partners of some rows."""
    apart = 1 - _best(a, b, edges, some)
    first = _partners(a, b, edges, some, apart.argmin(1))
    usual = float(np.median(apart.min(1)))
    best, partner = within(a, b, edges, closer * max(usual, 1e-4))
    rows = np.nonzero(np.isfinite(best).any(1))[0]
    limit = _limit(1 - _best(a, b, edges, rows), usual)
    row, block = np.nonzero(best[rows] < closer * limit[:, None])
    return rows[row], partner[rows[row], block], first


def _products(a: torch.Tensor, b: torch.Tensor, rows: np.ndarray):
    """For a few of the rows at a time: where they stand, and their cosines with all of b, their own number's being -2."""
    product = torch.empty(min(STEP, len(rows)), len(b))
    for start in range(0, len(rows), STEP):
        at = torch.from_numpy(rows[start : start + STEP])
        g = torch.mm(a[at], b.T, out=product[: len(at)])
        g[torch.arange(len(at)), at] = -2.0
        yield start, g


def _best(a: torch.Tensor, b: torch.Tensor, edges: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The cosine of rows of a with the best partner in each block of b, float32 [rows, blocks]."""
    out = np.empty((len(rows), len(edges) - 1), np.float32)
    for start, g in _products(a, b, rows):
        for block in range(len(edges) - 1):
            out[start : start + len(g), block] = g[:, edges[block] : edges[block + 1]].amax(1).numpy()
    return out


def _partners(a: torch.Tensor, b: torch.Tensor, edges: np.ndarray, row: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Numbers of the best partners of some rows in some blocks."""
    out = np.empty(len(row), np.int64)
    for start, g in _products(a, b, row):
        of = block[start : start + len(g)]
        for number in np.unique(of):
            here = np.nonzero(of == number)[0]
            found = g[here, edges[number] : edges[number + 1]].argmax(1).numpy()
            out[start + here] = found + edges[number]
    return out


def planes_of_key(angle: float) -> int:
    """How many planes a key may have for two directions at this angle to meet in one of `TABLES` with probability `MEET`."""
    alike = 1 - angle / math.pi  # probability that a plane does not separate them
    wanted = 1 - (1 - MEET) ** (1 / TABLES)
    return min(MOST_PLANES, int(math.log(wanted) / math.log(alike))) if 0 < alike < 1 else MOST_PLANES


def within(a: torch.Tensor, b: torch.Tensor, edges: np.ndarray, apart: float) -> tuple[np.ndarray, np.ndarray]:
    """The least 1 - cosine below `apart` of each row of a with a row of b in each block, and that row, both [n, blocks].

    Infinite where there is none, or where buckets did not bring it together with the row.
    """
    from dataprops.findings.buckets import Meeting, Side, keys, meet, meetings  # brings numba

    angle = math.acos(1 - min(apart, 1.0))
    planes = planes_of_key(angle)
    draw = torch.Generator().manual_seed(0)
    signing = torch.randn(a.shape[1], SIGNATURE, generator=draw)
    sorting = torch.randn(a.shape[1], TABLES * MOST_PLANES, generator=draw)[:, : TABLES * planes]
    key_a, key_b = (keys((one @ sorting).numpy(), TABLES, planes) for one in (a, b))
    if meetings(key_a, key_b, 2**planes) > CROWDED * len(a) * len(b):
        key_a, key_b = np.zeros((1, len(a)), np.int32), np.zeros((1, len(b)), np.int32)
        planes = 0
    differing = angle / math.pi
    limit = SIGNATURE * differing + DEVIATIONS * math.sqrt(SIGNATURE * differing * (1 - differing)) + 1
    best = np.full((len(a), len(edges) - 1), np.inf, np.float32)
    partner = np.zeros(best.shape, np.int64)
    sign_a, sign_b = (_signatures(one, signing) for one in (a, b))
    rules = Meeting(2**planes, np.uint64(limit), edges, np.float32(apart))
    meet(Side(a.numpy(), key_a, sign_a), Side(b.numpy(), key_b, sign_b), rules, best, partner)
    return best, partner


def _signatures(directions: torch.Tensor, planes: torch.Tensor) -> np.ndarray:
    """On which side of each of 64 planes the directions lie, uint64 [n]."""
    return np.packbits(((directions @ planes) > 0).numpy(), axis=1, bitorder="little").view(np.uint64).ravel()
