"""Select the pairs of a tile whose lower bounds (`sketch`) do not rule them out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dataprops.distances.lanes import LANES, close_lanes
from dataprops.distances.sketch import Sketch
from dataprops.util.compiled import njit

COLUMNS_AT_ONCE = 256  # columns per strip; pairs are emitted strip by strip, so that a strip's pixels stay in cache
ROUND_UP = 1.0 + 1e-5  # exceeds the rounding error of float32
STEEPEST = 1e15  # stands for infinity: times 0 it is 0, and its square fits float32


class Limits(NamedTuple):
    """Limits within which a pair matters to each row; float32 [n] each, lengths in steps.

    Attributes
    ----------
    norm, error
        Of the sketch.
    reach
        Distance within which a pair can enter the row's neighbour list, or is near-identical.
    slope
        Times the label difference: distance within which a pair is at least as sharp as the row's sharpest.
    y
        Labels; NaN = unlabelled.
    """

    norm: np.ndarray
    error: np.ndarray
    reach: np.ndarray
    slope: np.ndarray
    y: np.ndarray


def limits(sketch: Sketch, rows: slice, reach2: np.ndarray, sharp: np.ndarray, y: np.ndarray) -> Limits:
    """Limits of some rows from their current state.

    Parameters
    ----------
    reach2 : float64 [rows]
        Squared distance within which a pair matters.
    sharp : float64 [rows]
        Squared sharpness of the row's sharpest pair; infinity: sharpest pairs are not collected.
    y : float64 [rows]
    """
    with np.errstate(divide="ignore"):
        slope = np.minimum(ROUND_UP / (np.sqrt(sharp) * sketch.step), STEEPEST)
    reach = np.sqrt(np.maximum(0.0, reach2)) * (ROUND_UP / sketch.step)
    return Limits(
        sketch.norm[rows],
        sketch.error[rows] * np.float32(ROUND_UP),
        reach.astype(np.float32),
        slope.astype(np.float32),
        y.astype(np.float32),
    )


class Rise(NamedTuple):
    """Label differences in bounds, float32: increased by `least` (rounding error of float32) and capped at `most`."""

    most: np.float32
    least: np.float32


class PairBuffers(NamedTuple):
    """Output buffers for pairs of a tile, int32, row by row."""

    rows: np.ndarray
    columns: np.ndarray


@njit(nogil=True, cache=True)
def _last_lanes(g, b, whole):
    """The columns of a tile beyond the last whole vector, padded to one vector."""
    m, n = g.shape
    rest = n - whole
    last = np.zeros((m, LANES), g.dtype)
    last[:, :rest] = g[:, whole:]
    filled = np.full((5, LANES), np.nan, np.float32)  # NaN fails every comparison
    for row, values in enumerate(b):
        filled[row, :rest] = values[whole:]
    return last, Limits(filled[0], filled[1], filled[2], filled[3], filled[4])


@njit(nogil=True, cache=True)
def _not_skipped(out, before, found, skip):
    """Drop the columns of a row that are to be skipped; returns the new number of pairs."""
    kept = before
    for e in range(before, found):
        out.columns[kept] = out.columns[e]
        kept += 1 - skip[out.columns[e]]
    return kept


@njit(nogil=True, cache=True)
def candidates(g, a, b, rise, skip, out):
    """Write the pairs of a tile that the bounds do not prune; returns their number, or -1 if the buffers are too small.

    Parameters
    ----------
    g : int32 or float32 [m, n]
        Inner products of the codes: exact in float32, as are the norms and their sums.
    a, b : Limits
        Of the rows and the columns.
    rise : Rise
    skip : uint8 [m, n] or [0, 0]
        1 for pairs to skip.
    out : PairBuffers
    """
    m, n = g.shape
    most = out.rows.shape[0] - COLUMNS_AT_ONCE
    whole = n - n % LANES
    last_g, last_b = _last_lanes(g, b, whole)
    found = 0
    for begin in range(0, n, COLUMNS_AT_ONCE):
        end = min(whole, begin + COLUMNS_AT_ONCE)
        for i in range(m):
            if found > most:
                return -1
            of_i = (a.norm[i], a.error[i], a.reach[i], a.slope[i], a.y[i])
            before = found
            found = close_lanes(g, b, (i, begin, end, 0, found), of_i, rise, out)
            if begin <= whole < min(n, begin + COLUMNS_AT_ONCE):  # the remainder, in the last strip only
                found = close_lanes(last_g, last_b, (i, 0, 1, whole, found), of_i, rise, out)
            if skip.shape[0]:
                found = _not_skipped(out, before, found, skip[i])
    return found
