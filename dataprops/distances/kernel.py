"""The epilogue: fold one tile of inner products into the state of its rows and columns in a single scan.

For row i and column j the squared distance is ``norm_i + norm_j - 2 g_ij``. Almost every pair of a tile is too far apart to
matter, so a vectorised, branch-free scan marks, one strip of columns at a time, the pairs that could enter a neighbour list
(distance within the larger of the two k-th distances), be the sharpest pair of one of its images, or be near-identical. Only
marked pairs are processed one by one. The same scan serves both directions: rows are updated, and columns through a copy of
their k-th distances.

The order is total - (distance, index) for neighbours, (sharpness descending, index) for the sharpest pair - so the final state
does not depend on the order of the tiles, their shape or the number of threads.

Neighbour lists are binary max-heaps by (distance, index), with the k-th neighbour at the root. An empty slot is (bound,
`EMPTY`): a known upper bound of the k-th distance instead of infinity lets pruning start at once.

`torch_tiles.py` does the same with plain torch operations: the reference of the tests, and the fallback on CUDA.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dataprops.util.compiled import njit

EMPTY = np.int32(2**31 - 1)  # index of an empty slot; sorts after every real index, so any real pair at the bound wins
SAFE_FEATURES = 65_536  # times 2^14 fits int32
STRIP = 64  # columns marked at once: long enough to vectorise, short enough to keep the bounds up to date
_SLACK = 1.0 - 2.0**-49  # loosens the sharpness test by a few ulp, so that ties reach the exact comparison


@njit(nogil=True, cache=True, inline="always")
def after(d2, index, other_d2, other_index):
    """Whether (d2, index) comes after (other_d2, other_index)."""
    return d2 > other_d2 or (d2 == other_d2 and index > other_index)


@njit(nogil=True, cache=True)
def push(heap_d2, heap_index, d2, index):
    """Replace the root of a heap by (d2, index), which must come before it, and restore the heap property."""
    size = heap_d2.shape[0]
    hole = 0
    while True:
        child = 2 * hole + 1
        if child >= size:
            break
        right = child + 1
        if right < size and after(heap_d2[right], heap_index[right], heap_d2[child], heap_index[child]):
            child = right
        if not after(heap_d2[child], heap_index[child], d2, index):
            break
        heap_d2[hole] = heap_d2[child]
        heap_index[hole] = heap_index[child]
        hole = child
    heap_d2[hole] = d2
    heap_index[hole] = index


@njit(nogil=True, cache=True)
def push_entries(into, found):
    """Push the neighbours in `found` onto the heaps of a state (see `state.State`, `state.Found`); each pair at most once."""
    for e in range(found.row.shape[0]):
        r = found.row[e]
        if after(into.knn_d2[r, 0], into.knn_index[r, 0], found.d2[e], found.neighbour[e]):
            push(into.knn_d2[r], into.knn_index[r], found.d2[e], found.neighbour[e])


@njit(nogil=True, cache=True)
def push_sharpest(into, found):
    """Update the sharpest pairs of a state with those in `found`."""
    for e in range(found.sharp_row.shape[0]):
        r = found.sharp_row[e]
        value, index = found.sharp[e], found.sharp_index[e]
        if value > into.sharp[r] or (value == into.sharp[r] and value > 0.0 and index < into.sharp_index[r]):
            into.sharp[r] = value
            into.sharp_d2[r] = found.sharp_d2[e]
            into.sharp_index[r] = index


@njit(nogil=True, cache=True, inline="always")
def _mark(g, norm_i, norm_b, reach_i, reach_b, y_i, y_b, floor_i, floor_b, numeric, marks):
    """Mark the columns of a strip whose pair with row i could change the state (a superset), without branches.

    Arguments are slices indexed from 0, which lets the compiler vectorise the accesses.
    """
    if numeric:
        for j in range(g.shape[0]):
            d2 = norm_i + norm_b[j] - 2.0 * g[j]
            step = y_i - y_b[j]
            marks[j] = (d2 <= max(reach_i, reach_b[j])) | (step * step > d2 * min(floor_i, floor_b[j]))
    else:
        for j in range(g.shape[0]):
            d2 = norm_i + norm_b[j] - 2.0 * g[j]
            step = 1.0 if (y_i < y_b[j]) | (y_i > y_b[j]) else 0.0
            marks[j] = (d2 <= max(reach_i, reach_b[j])) | (step > d2 * min(floor_i, floor_b[j]))


@njit(nogil=True, cache=True, inline="always")
def label_rise(step, numeric):
    """Squared label difference, NaN if a label is missing; for classes 1 if they differ, else 0."""
    if numeric:
        return step * step
    return 1.0 if (step < 0.0) | (step > 0.0) else 0.0


class TileSide(NamedTuple):
    """Rows or columns of a tile with their state, which is updated in place.

    Attributes
    ----------
    norm : float64 [n]
        Squared norms of the shifted images (exact integers).
    y : float64 [n]
        Class codes or numbers; NaN = unlabelled (neither equal to nor different from any label).
    number : int32 [n]
        Global row numbers.
    primary : bool [n]
        Whether the row may appear in neighbour lists (one row per distinct image).
    knn_d2, knn_index, sharp, sharp_d2, sharp_index
        As in `state.State`.
    """

    norm: np.ndarray
    y: np.ndarray
    number: np.ndarray
    primary: np.ndarray
    knn_d2: np.ndarray
    knn_index: np.ndarray
    sharp: np.ndarray
    sharp_d2: np.ndarray
    sharp_index: np.ndarray


class Rules(NamedTuple):
    """Rules for the pairs of a tile.

    Attributes
    ----------
    numeric : bool
        Labels are numbers.
    near2 : float
        Squared near-duplicate distance; negative: near pairs are not collected.
    triangle : bool
        The tile is on the diagonal: both sides are the same rows, and only pairs with column > row count.
    both : bool
        Update the columns too.
    """

    numeric: bool
    near2: float
    triangle: bool
    both: bool


class NearBuffers(NamedTuple):
    """Output buffers for the near pairs of a tile: int32, int32, float64, one slot per pair."""

    a: np.ndarray
    b: np.ndarray
    d2: np.ndarray


class TilePairs(NamedTuple):
    """Single pairs of a tile: rows and columns relative to the tile, int32, and their inner products, int64."""

    rows: np.ndarray
    columns: np.ndarray
    products: np.ndarray


@njit(nogil=True, cache=True, inline="always")
def _offer(row, d2, value, other, listed, knn_d2, knn_index, sharp, sharp_d2, sharp_index):
    """Update one row with a pair: squared distance, squared sharpness (0 = equal labels), number of the other row, and whether
    that row may appear in neighbour lists.

    Takes arrays rather than a tuple because numba updates the reference count of every array in a tuple it passes on.
    """
    if listed and knn_d2.shape[1] > 0 and after(knn_d2[row, 0], knn_index[row, 0], d2, other):
        push(knn_d2[row], knn_index[row], d2, other)
    if value > sharp[row] or (value == sharp[row] and value > 0.0 and other < sharp_index[row]):
        sharp[row] = value
        sharp_d2[row] = d2
        sharp_index[row] = other


@njit(nogil=True, cache=True, inline="always")
def _reach(knn_d2, row, near2):
    """Squared distance within which a pair can enter this row's neighbour list, or is near-identical."""
    if knn_d2.shape[1] > 0:
        return max(near2, knn_d2[row, 0])
    return near2


@njit(nogil=True, cache=True)
def fold_pairs(pairs, a, b, rules, near):
    """As `reduce_tile`, for single pairs of a tile (`TilePairs`)."""
    norm_a, y_a, number_a, primary_a, knn_d2_a, knn_index_a, sharp_a, sharp_d2_a, sharp_index_a = a
    norm_b, y_b, number_b, primary_b, knn_d2_b, knn_index_b, sharp_b, sharp_d2_b, sharp_index_b = b
    rows, columns, products = pairs
    near_a, near_b, near_d2 = near
    near2, both, numeric = np.float64(rules.near2), rules.both, rules.numeric
    # contiguous copies: most pairs change nothing, and the comparison values stay in cache
    reach_b, floor_b = np.full(norm_b.shape[0], near2), np.full(norm_b.shape[0], np.inf)
    if both:
        for j in range(norm_b.shape[0]):
            reach_b[j] = _reach(knn_d2_b, j, near2)
            floor_b[j] = sharp_b[j]
    n_near = 0
    for e in range(rows.shape[0]):
        i = rows[e]
        j = columns[e]
        d2 = norm_a[i] + norm_b[j] - 2.0 * products[e]
        if d2 <= 0.0:
            continue
        rise = label_rise(y_a[i] - y_b[j], numeric)
        reach = max(_reach(knn_d2_a, i, near2), reach_b[j])
        floor = min(sharp_a[i], floor_b[j])
        if not ((d2 <= reach) | (rise > d2 * (floor * _SLACK))):
            continue
        value = rise / d2
        _offer(i, d2, value, number_b[j], primary_b[j], knn_d2_a, knn_index_a, sharp_a, sharp_d2_a, sharp_index_a)
        if both:
            _offer(j, d2, value, number_a[i], primary_a[i], knn_d2_b, knn_index_b, sharp_b, sharp_d2_b, sharp_index_b)
            reach_b[j] = _reach(knn_d2_b, j, near2)
            floor_b[j] = sharp_b[j]
        if d2 <= near2 and primary_a[i] and primary_b[j]:
            near_a[n_near], near_b[n_near], near_d2[n_near] = number_a[i], number_b[j], d2
            n_near += 1
    return n_near


@njit(nogil=True, cache=True)
def reduce_tile(g, a, b, rules, near):
    """Fold one tile; returns the number of near pairs written.

    Not split into functions because a call in the inner loop costs more than the comparison; tuples are unpacked before the loop for
    the same reason.

    Parameters
    ----------
    g : int32 or int64 [m, n]
        Inner products of the shifted images.
    a, b : TileSide
        Rows and columns.
    rules : Rules
    near : NearBuffers
    """
    m, n = g.shape
    norm_a, y_a, number_a, primary_a, knn_d2_a, knn_index_a, sharp_a, sharp_d2_a, sharp_index_a = a
    norm_b, y_b, number_b, primary_b, knn_d2_b, knn_index_b, sharp_b, sharp_d2_b, sharp_index_b = b
    near_a, near_b, near_d2 = near
    near2, both, numeric = np.float64(rules.near2), rules.both, rules.numeric
    reach_b = np.full(n, near2)  # squared distance within which a pair matters to column j
    floor_b = np.full(n, np.inf)  # sharpness above which a pair matters to column j
    if both:
        for j in range(n):
            reach_b[j] = _reach(knn_d2_b, j, near2)
            floor_b[j] = sharp_b[j] * _SLACK
    marks = np.zeros(STRIP, np.uint8)
    eights = marks.view(np.uint64)  # tests eight columns at once
    n_near = 0
    for i in range(m):
        norm_i, y_i = norm_a[i], y_a[i]
        reach_i = _reach(knn_d2_a, i, near2)
        floor_i = sharp_a[i] * _SLACK
        start = i + 1 if rules.triangle else 0
        while start < n:
            stop = min(n, start + STRIP)
            if stop - start < STRIP:
                marks[:] = 0
            _mark(
                g[i, start:stop],
                norm_i,
                norm_b[start:stop],
                reach_i,
                reach_b[start:stop],
                y_i,
                y_b[start:stop],
                floor_i,
                floor_b[start:stop],
                numeric,
                marks,
            )
            for eight in range(STRIP // 8):
                if eights[eight] == 0:
                    continue
                for place in range(8 * eight, 8 * eight + 8):
                    if marks[place] == 0:
                        continue
                    j = start + place
                    d2 = norm_i + norm_b[j] - 2.0 * g[i, j]
                    if d2 <= 0.0:
                        continue  # identical images are found by content hash, not here
                    rise = label_rise(y_i - y_b[j], numeric)
                    if not ((d2 <= max(reach_i, reach_b[j])) | (rise > d2 * min(floor_i, floor_b[j]))):
                        continue
                    value, other, listed = rise / d2, number_b[j], primary_b[j]
                    _offer(i, d2, value, other, listed, knn_d2_a, knn_index_a, sharp_a, sharp_d2_a, sharp_index_a)
                    if both:
                        other, listed = number_a[i], primary_a[i]
                        _offer(j, d2, value, other, listed, knn_d2_b, knn_index_b, sharp_b, sharp_d2_b, sharp_index_b)
                        reach_b[j] = _reach(knn_d2_b, j, near2)
                        floor_b[j] = sharp_b[j] * _SLACK
                    if d2 <= near2 and primary_a[i] and primary_b[j]:
                        near_a[n_near], near_b[n_near], near_d2[n_near] = number_a[i], number_b[j], d2
                        n_near += 1
                    reach_i = _reach(knn_d2_a, i, near2)
                    floor_i = sharp_a[i] * _SLACK
            start = stop
    return n_near


@njit(nogil=True, cache=True, inline="always")
def _shift(pixels, shifted):
    total = np.int32(0)
    for j in range(pixels.shape[0]):
        v = np.int8(pixels[j] ^ 128)  # x - 128 as int8
        shifted[j] = v
        # a square fits int16, which lets the compiler process twice as many per instruction
        total = np.int32(total + np.int32(np.int16(np.int16(v) * np.int16(v))))
    return total


@njit(nogil=True, cache=True)
def shift_rows(pixels, shifted, norms):
    """Write uint8 pixels as int8 ``x - 128``, and the exact squared norm of each shifted row."""
    features = pixels.shape[1]
    for i in range(pixels.shape[0]):
        total = np.int64(0)
        for start in range(0, features, SAFE_FEATURES):
            stop = min(features, start + SAFE_FEATURES)
            total += _shift(pixels[i, start:stop], shifted[i, start:stop])
        norms[i] = total


@njit(nogil=True, cache=True)
def sort_heaps(knn_d2, knn_index, out_d2, out_index):
    """Write each heap in ascending order of (distance, index), empty slots last as (inf, `EMPTY`).

    By insertion from the end: a heap that nothing was pushed to since it was made from a sorted list is in order already.
    """
    n, k = knn_d2.shape
    for i in range(n):
        for slot in range(k):
            index = knn_index[i, k - 1 - slot]
            d2 = knn_d2[i, k - 1 - slot] if index != EMPTY else np.inf
            place = slot
            while place > 0 and after(out_d2[i, place - 1], out_index[i, place - 1], d2, index):
                out_d2[i, place] = out_d2[i, place - 1]
                out_index[i, place] = out_index[i, place - 1]
                place -= 1
            out_d2[i, place] = d2
            out_index[i, place] = index


class Lists(NamedTuple):
    """Neighbour lists, float64 and int32 [n, k]."""

    d2: np.ndarray
    number: np.ndarray


class Moves(NamedTuple):
    """Rows of lists before and after a move, int64 [m]; `went`, int64 [n]: new number of each old row, -1 if removed."""

    old_rows: np.ndarray
    new_rows: np.ndarray
    went: np.ndarray


@njit(nogil=True, cache=True)
def carry_lists(old, new, moves, whole):
    """Move sorted neighbour lists to new row numbers, as heaps; a list that names a removed row is not moved.

    Parameters
    ----------
    old, new : Lists
    moves : Moves
    whole : bool [m]
        Output: whether the list was moved.
    """
    k = old.d2.shape[1]
    for e in range(moves.old_rows.shape[0]):
        i = moves.old_rows[e]
        j = moves.new_rows[e]
        whole[e] = True
        for slot in range(k):
            if old.number[i, slot] != EMPTY and moves.went[old.number[i, slot]] < 0:
                whole[e] = False
                break
        if whole[e]:
            for slot in range(k):
                index = old.number[i, slot]
                new.d2[j, k - 1 - slot] = old.d2[i, slot]
                new.number[j, k - 1 - slot] = index if index == EMPTY else np.int32(moves.went[index])
