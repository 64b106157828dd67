"""Pairs of unusually close directions from two sets of rows.

Small sets are compared by brute force. For large ones, locality-sensitive hashing is used: the sides of a few random planes on which
a direction lies form a key, and two directions at a small angle have equal keys with a known probability [1]_. With `TABLES` sets of
as many planes as that allows, a pair at the limit shares at least one bucket with probability `MEET`, a closer pair with a higher one.
Pairs in a bucket are compared by a signature of 64 planes, and the remaining ones by their cosine: time grows with the number of close
pairs, not of all. If directions crowd in a few buckets, a single bucket is used.

References
----------
.. [1] M. Charikar, Similarity estimation techniques from rounding algorithms, STOC (2002).
"""

from __future__ import annotations

import math

import numpy as np
import torch

BLOCKS = 4  # parts of the dataset; the best partner in each is considered
USUAL = 300  # sample of rows to estimate how close best partners usually are
STEP = 512  # rows compared at once
SMALL = 1500  # rows up to which brute force is faster than loading the compiled kernel
TABLES, MOST_PLANES = 16, 16
MEET = 0.95  # probability that a pair at the limit shares a key in `TABLES`
SIGNATURE = 64  # planes
# standard deviations of the number of planes between directions at the limit; pairs separated by more are skipped
DEVIATIONS = 2.0
CROWDED = 0.5  # fraction of all pairs that share buckets, from which a single bucket is faster


def close_partners(a: torch.Tensor, b: torch.Tensor, closer: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Rows of a with a partner among the rows of b whose 1 - cosine is below `closer` times the usual value, and these partners.

    The best partner in each of `BLOCKS` parts of the dataset is considered, except the row with the same index. If directions are
    dense all partners are close; then one must be closer than the best of most other parts.

    Parameters
    ----------
    a, b : float32 [n, d]
        Unit vectors; rows of zeros have no partner.

    Returns
    -------
    row, partner : int64 [m]
    some : int
        Number of leading entries that are evenly spaced rows with their best partners, however close.
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


def load(images: int) -> None:
    """Load the compiled kernels, which takes most of a second, if so many images need them."""
    if images >= SMALL:
        some = torch.eye(4)
        within(some, some, np.array([0, 4]), 0.1)


def _limit(apart: np.ndarray, usual: float) -> np.ndarray:
    """Usual 1 - cosine for each row, from that of its best partner in each block [m, blocks]."""
    return np.minimum(max(usual, 1e-4), np.sort(apart, axis=1)[:, -1 - (apart.shape[1] > 3)])


def _met(
    a: torch.Tensor, b: torch.Tensor, edges: np.ndarray, some: np.ndarray, closer: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows with a close partner and these partners, from buckets; and the best partners of some rows."""
    apart = 1 - _best(a, b, edges, some)
    first = _partners(a, b, edges, some, apart.argmin(1))
    usual = float(np.median(apart.min(1)))
    best, partner = within(a, b, edges, closer * max(usual, 1e-4))
    rows = np.nonzero(np.isfinite(best).any(1))[0]
    limit = _limit(1 - _best(a, b, edges, rows), usual)
    row, block = np.nonzero(best[rows] < closer * limit[:, None])
    return rows[row], partner[rows[row], block], first


def _products(a: torch.Tensor, b: torch.Tensor, rows: np.ndarray):
    """Batches of the rows: their positions, and their cosines with all of b, -2 for the same index."""
    product = torch.empty(min(STEP, len(rows)), len(b))
    for start in range(0, len(rows), STEP):
        at = torch.from_numpy(rows[start : start + STEP])
        g = torch.mm(a[at], b.T, out=product[: len(at)])
        g[torch.arange(len(at)), at] = -2.0
        yield start, g


def _best(a: torch.Tensor, b: torch.Tensor, edges: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Cosines of rows of a with their best partners in each block of b, float32 [rows, blocks]."""
    out = np.empty((len(rows), len(edges) - 1), np.float32)
    for start, g in _products(a, b, rows):
        for block in range(len(edges) - 1):
            out[start : start + len(g), block] = g[:, edges[block] : edges[block + 1]].amax(1).numpy()
    return out


def _partners(a: torch.Tensor, b: torch.Tensor, edges: np.ndarray, row: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Indices of the best partners of some rows in some blocks."""
    out = np.empty(len(row), np.int64)
    for start, g in _products(a, b, row):
        of = block[start : start + len(g)]
        for number in np.unique(of):
            here = np.nonzero(of == number)[0]
            found = g[here, edges[number] : edges[number + 1]].argmax(1).numpy()
            out[start + here] = found + edges[number]
    return out


def planes_of_key(angle: float) -> int:
    """Planes per key such that two directions at this angle share a key in `TABLES` with probability `MEET`."""
    alike = 1 - angle / math.pi  # probability that a plane does not separate them
    wanted = 1 - (1 - MEET) ** (1 / TABLES)
    return min(MOST_PLANES, int(math.log(wanted) / math.log(alike))) if 0 < alike < 1 else MOST_PLANES


def within(a: torch.Tensor, b: torch.Tensor, edges: np.ndarray, apart: float) -> tuple[np.ndarray, np.ndarray]:
    """Minimum 1 - cosine below `apart` of each row of a to the rows of b in each block, and that row, both [n, blocks].

    Infinite if there is none, or if the two share no bucket.
    """
    from dataprops.findings.buckets import Meeting, Side, keys, meet, meetings  # deferred: imports numba

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
    """Sides of 64 planes on which the directions lie, uint64 [n]."""
    return np.packbits(((directions @ planes) > 0).numpy(), axis=1, bitorder="little").view(np.uint64).ravel()
