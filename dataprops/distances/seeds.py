"""Seeds of a tile: for rows that cannot prune pairs yet, the most promising pairs by their sketch codes.

Computed exactly, they give a row a first k-th distance and sharpest pair. They never change the result, so the choice is approximate:
columns are divided into groups, and the best of each group compete.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dataprops.distances.kernel import label_rise
from dataprops.util.compiled import njit

GROUPS = 3  # groups per neighbour, so that two neighbours rarely share one


@njit(nogil=True, cache=True)
def _apart(g, norm_i, norm, out):
    for j in range(g.shape[0]):
        out[j] = norm_i + norm[j] - np.float32(2.0) * np.float32(g[j])


@njit(nogil=True, cache=True)
def _bluntness(apart, y_i, y, numeric, out):
    """Inverse squared sharpness from squared distances; infinity for equal labels."""
    for j in range(apart.shape[0]):
        rise = label_rise(y_i - y[j], numeric)
        out[j] = max(apart[j], np.float32(1.0)) / rise if rise > 0.0 else np.inf


@njit(nogil=True, cache=True)
def _leads(values, leads, least):
    """Minimum of each group and its column, ignoring infinity; branch-free.

    Columns are interleaved among the groups, since adjacent ones are similar and would share one.
    """
    groups = leads.shape[0]
    leads[:] = 0
    least[:] = np.inf
    for start in range(0, values.shape[0], groups):
        row = values[start : start + groups]
        for group in range(row.shape[0]):
            better = row[group] < least[group]
            leads[group] = np.int32(start + group) if better else leads[group]
            least[group] = row[group] if better else least[group]


class SeedSide(NamedTuple):
    """Rows or columns of a tile: squared norms of the codes, float32; labels, float64; whether they may be neighbours."""

    norm: np.ndarray
    y: np.ndarray
    listed: np.ndarray


class SeedRules(NamedTuple):
    """Number of neighbours, whether sharpest pairs are collected, whether labels are numeric, and whether rows and columns are the
    same (pairs are then written with column > row)."""

    k: int
    sharp: bool
    numeric: bool
    triangle: bool


class Seeds(NamedTuple):
    """Output buffers: int32 rows and columns, k + 1 for each unbounded row; and marks, uint8 [m, n], 1 for pairs to skip."""

    rows: np.ndarray
    columns: np.ndarray
    taken: np.ndarray


@njit(nogil=True, cache=True)
def _take(i, j, triangle, seeds, found):
    """Add a pair unless it is marked; returns the new number of pairs."""
    if triangle and i > j:
        i, j = j, i
    if seeds.taken[i, j]:
        return found
    seeds.taken[i, j] = 1
    seeds.rows[found] = i
    seeds.columns[found] = j
    return found + 1


@njit(nogil=True, cache=True)
def choose_seeds(g, unbounded, a, b, rules, seeds):
    """Choose for each unbounded row about its k nearest and its sharpest pair; returns the number of pairs.

    Parameters
    ----------
    g : int32 or float32 [m, n]
        Inner products of the codes.
    unbounded : int64
        Rows.
    a, b : SeedSide
        Rows and columns; only the first len(b) columns are searched.
    rules : SeedRules
    seeds : Seeds
    """
    n = b.listed.shape[0]
    k = rules.k
    leads = np.empty(min(n, GROUPS * max(1, k)), np.int32)
    least = np.empty(len(leads), np.float32)
    apart, blunt = np.empty(n, np.float32), np.empty(n, np.float32)
    found = 0
    for i in unbounded:
        _apart(g[i, :n], a.norm[i], b.norm, apart)
        if rules.triangle and i < n:
            apart[i] = np.inf
        if rules.sharp:
            _bluntness(apart, a.y[i], b.y, rules.numeric, blunt)
            _leads(blunt, leads, least)
            group = np.argmin(least)
            if least[group] < np.inf:
                found = _take(i, leads[group], rules.triangle, seeds, found)
        if k == 0:
            continue
        for j in range(n):
            apart[j] = apart[j] if b.listed[j] else np.inf
        _leads(apart, leads, least)
        for group in np.argsort(least)[:k]:
            if least[group] < np.inf:
                found = _take(i, leads[group], rules.triangle, seeds, found)
    return found
