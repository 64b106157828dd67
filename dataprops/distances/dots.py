"""Exact inner products of single pairs of rows, for tiles in which the bounds leave few pairs.

The compiled plain loop reaches a twentieth of the throughput of a tile's product; with VNNI instructions it is memory-bound. Rows are
therefore aligned to cache lines (`aligned`), and pairs are ordered so that few columns are in use at a time (`bounds.candidates`).

`choose_dots` selects the fastest version that is exact on this processor, like `product.choose_route`.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable

import numpy as np

from dataprops.distances.kernel import SAFE_FEATURES
from dataprops.distances.lanes import BYTES, STEP, supported, vnni_rest, vnni_sum
from dataprops.distances.madd import SHORT as MADD_SHORT
from dataprops.distances.madd import STEP as MADD_STEP
from dataprops.distances.madd import madd_rest, madd_sum
from dataprops.util.compiled import njit

log = logging.getLogger(__name__)

LINE = 64  # bytes of a cache line
VNNI = ("avx512f", "avx512bw", "avx512vnni")

# out[e] = a[rows[e]] . b[columns[e]]: int8 [., D], int32 row numbers, int64 out
Dots = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray], None]


def aligned(n: int, features: int) -> np.ndarray:
    """Uninitialised int8 [n, D], aligned to cache lines so that vector loads do not straddle two of them.

    Allocated by numpy, which uses huge pages: faulting in small pages would cost as much as the shift itself.
    """
    raw = np.empty(n * features + LINE, np.int8)
    start = -raw.ctypes.data % LINE
    return raw[start : start + n * features].reshape(n, features)


@njit(nogil=True, cache=True)
def _vnni(a, b, rows, columns, out):
    features = a.shape[1]
    flat_a, flat_b = a.reshape(-1), b.reshape(-1)
    for e in range(rows.shape[0]):
        row, column = np.int64(rows[e]) * features, np.int64(columns[e]) * features
        total = np.int64(0)
        for start in range(0, features, SAFE_FEATURES):
            length = min(features - start, SAFE_FEATURES)
            steps = length // STEP
            if steps:
                total += vnni_sum(flat_a, flat_b, row + start, column + start, steps)
            for j in range(start + steps * STEP, start + length, BYTES):
                total += vnni_rest(flat_a, flat_b, row + j, column + j, np.int8(min(BYTES, start + length - j)))
        out[e] = total


@njit(nogil=True, cache=True)
def _madd(a, b, rows, columns, out):
    features = a.shape[1]
    flat_a, flat_b = a.reshape(-1), b.reshape(-1)
    for e in range(rows.shape[0]):
        row, column = np.int64(rows[e]) * features, np.int64(columns[e]) * features
        total = np.int64(0)
        for start in range(0, features, SAFE_FEATURES):
            length = min(features - start, SAFE_FEATURES)
            steps = length // MADD_STEP
            if steps:
                total += madd_sum(flat_a, flat_b, row + start, column + start, steps)
            done = start + steps * MADD_STEP
            steps = (start + length - done) // MADD_SHORT
            if steps:
                total += madd_rest(flat_a, flat_b, row + done, column + done, steps)
            for j in range(done + steps * MADD_SHORT, start + length):
                total += np.int32(flat_a[row + j]) * np.int32(flat_b[column + j])
        out[e] = total


@njit(nogil=True, cache=True)
def _plain(a, b, rows, columns, out):
    features = a.shape[1]
    for e in range(rows.shape[0]):
        x = a[rows[e]]
        y = b[columns[e]]
        total = np.int64(0)
        for start in range(0, features, SAFE_FEATURES):
            part = x[start : start + SAFE_FEATURES]
            other = y[start : start + SAFE_FEATURES]
            some = np.int32(0)
            for j in range(part.shape[0]):
                # a product fits int16, which lets the compiler process twice as many per instruction
                some = np.int32(some + np.int32(np.int16(np.int16(part[j]) * np.int16(other[j]))))
            total += some
        out[e] = total


def _exact(dots: Dots) -> bool:
    """Whether products of extreme values are exact, for lengths below one vector, of whole steps, and with a remainder."""
    values = np.array([-128, 127, -1, 1, 0], np.int8)
    rows, columns = np.divmod(np.arange(len(values) ** 2, dtype=np.int32), np.int32(len(values)))
    for features in (BYTES - 1, 3 * STEP, 5 * STEP + BYTES + 3):
        images = np.repeat(values[:, None], features, axis=1)
        images[:, ::7] = values[::-1, None]
        out = np.empty(len(rows), np.int64)
        dots(images, images, rows, columns, out)
        wide = images.astype(np.int64)
        if not np.array_equal(out, (wide @ wide.T)[rows, columns]):
            return False
    return True


@functools.cache
def choose_dots() -> Dots:
    """The fastest exact version on this processor."""
    for names, dots in ((VNNI, _vnni), (("avx2",), _madd)):
        if supported(*names):
            if _exact(dots):
                return dots
            log.warning("the %s instructions give wrong integers here and are not used for single pairs", names[-1])
    return _plain


def dots_are_quick() -> bool:
    """Whether single products use VNNI or pairs of int16 on this processor."""
    return choose_dots() is not _plain
