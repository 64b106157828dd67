"""The epilogue: fold one tile of inner products into the state of its rows and of its columns, in one scan.

For row i and column j the squared distance is ``norm_i + norm_j - 2 g_ij``. Almost every pair of a tile is too far
away to matter, so the scan marks, for a strip of columns at a time and without branches (it vectorises), the pairs that could
enter a neighbour list (distance within the larger of the two k-th distances), be the sharpest pair of one of its images,
or be near-identical. Only marked pairs are looked at one by one. Both directions come from the same scan: rows are
updated, and columns through a copy of their k-th distances.

Order is total - (distance, index) for neighbours, (sharpness descending, index) for the sharpest pair - so the state after
all tiles does not depend on the order of the tiles, their shape or the number of threads.

Neighbour lists are binary max-heaps by (distance, index): the root is the k-th neighbour, the number to beat. An empty
slot is (bound, `EMPTY`): with a known upper bound of the k-th distance in place of infinity, pruning starts at once.

`torch_tiles.py` is this module's twin in plain torch operations: the oracle of the tests, and the route on CUDA.
"""

from __future__ import annotations

import numpy as np
from numba import njit

EMPTY = np.int32(2**31 - 1)  # index of an empty slot: after every real index, so that any real pair at the bound wins
SAFE_FEATURES = 65_536  # times 2^14 fits int32
STRIP = 64  # columns marked at once: long enough to vectorise, short enough that the bounds stay fresh
_SLACK = 1.0 - 2.0**-49  # loosens the sharpness test by a few ulp: a tie must reach the exact comparison


@njit(nogil=True, cache=True, inline="always")
def _after(d2, index, other_d2, other_index):
    """Whether (d2, index) comes after (other_d2, other_index)."""
    return d2 > other_d2 or (d2 == other_d2 and index > other_index)


@njit(nogil=True, cache=True)
def push(heap_d2, heap_index, d2, index):
    """Replace the root of one row's heap by (d2, index), which must come before it, and restore the heap."""
    size = heap_d2.shape[0]
    hole = 0
    while True:
        child = 2 * hole + 1
        if child >= size:
            break
        right = child + 1
        if right < size and _after(heap_d2[right], heap_index[right], heap_d2[child], heap_index[child]):
            child = right
        if not _after(heap_d2[child], heap_index[child], d2, index):
            break
        heap_d2[hole] = heap_d2[child]
        heap_index[hole] = heap_index[child]
        hole = child
    heap_d2[hole] = d2
    heap_index[hole] = index


@njit(nogil=True, cache=True)
def push_entries(knn_d2, knn_index, rows, d2, index):
    """Offer neighbour entries (row, d2, index) to the heaps; a pair must be offered only once."""
    for e in range(rows.shape[0]):
        r = rows[e]
        if _after(knn_d2[r, 0], knn_index[r, 0], d2[e], index[e]):
            push(knn_d2[r], knn_index[r], d2[e], index[e])


@njit(nogil=True, cache=True)
def push_sharpest(sharp, sharp_d2, sharp_index, rows, value, d2, index):
    """Offer sharpest-pair entries (row, squared sharpness, d2, index)."""
    for e in range(rows.shape[0]):
        r = rows[e]
        if value[e] > sharp[r] or (value[e] == sharp[r] and value[e] > 0.0 and index[e] < sharp_index[r]):
            sharp[r] = value[e]
            sharp_d2[r] = d2[e]
            sharp_index[r] = index[e]


@njit(nogil=True, cache=True, inline="always")
def _mark(g, norm_i, norm_b, reach_i, reach_b, y_i, y_b, floor_i, floor_b, numeric, marks):
    """Mark the columns of a strip whose pair with row i could change the state; a superset, without branches.

    The arguments are slices counted from 0: the compiler then proves the accesses simple and vectorises them.
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
    """Squared difference of two labels, NaN if one is missing; of classes 1 where they differ, else 0."""
    if numeric:
        return step * step
    return 1.0 if (step < 0.0) | (step > 0.0) else 0.0


@njit(nogil=True, cache=True, inline="always")
def _offer(row, d2, value, other, listed, knn_d2, knn_index, sharp, sharp_d2, sharp_index):
    """Offer one row a pair: its squared distance and squared sharpness (0 = labels do not differ), the other row's number, and
    whether that may stand in a neighbour list. Few arrays: each one handed on costs as much as the comparison.
    """
    if listed and knn_d2.shape[1] > 0 and _after(knn_d2[row, 0], knn_index[row, 0], d2, other):
        push(knn_d2[row], knn_index[row], d2, other)
    if value > sharp[row] or (value == sharp[row] and value > 0.0 and other < sharp_index[row]):
        sharp[row] = value
        sharp_d2[row] = d2
        sharp_index[row] = other


@njit(nogil=True, cache=True)
def fold_pairs(
    rows,
    columns,
    products,
    norm_a,
    norm_b,
    y_a,
    y_b,
    index_a,
    index_b,
    primary_a,
    primary_b,
    numeric,
    near2,
    both,
    knn_d2_a,
    knn_index_a,
    sharp_a,
    sharp_d2_a,
    sharp_index_a,
    knn_d2_b,
    knn_index_b,
    sharp_b,
    sharp_d2_b,
    sharp_index_b,
    near_a,
    near_b,
    near_d2,
):
    """Fold single pairs of a tile (rows[e], columns[e]) with their inner products; the rest as in `reduce_tile`."""
    k_a = knn_d2_a.shape[1]
    k_b = knn_d2_b.shape[1] if both else 0
    n_near = 0
    near2 = np.float64(near2)
    for e in range(rows.shape[0]):
        i = rows[e]
        j = columns[e]
        d2 = norm_a[i] + norm_b[j] - 2.0 * products[e]
        if d2 <= 0.0:
            continue
        # most pairs change nothing, which is quick to see
        step = y_a[i] - y_b[j]
        rise = label_rise(step, numeric)
        reach = near2
        if k_a > 0:
            reach = max(reach, knn_d2_a[i, 0])
        floor = sharp_a[i]
        if both:
            if k_b > 0:
                reach = max(reach, knn_d2_b[j, 0])
            floor = min(floor, sharp_b[j])
        if not ((d2 <= reach) | (rise > d2 * (floor * _SLACK))):
            continue
        value = rise / d2
        _offer(i, d2, value, index_b[j], primary_b[j], knn_d2_a, knn_index_a, sharp_a, sharp_d2_a, sharp_index_a)
        if both:
            _offer(j, d2, value, index_a[i], primary_a[i], knn_d2_b, knn_index_b, sharp_b, sharp_d2_b, sharp_index_b)
        if d2 <= near2 and primary_a[i] and primary_b[j]:
            near_a[n_near] = index_a[i]
            near_b[n_near] = index_b[j]
            near_d2[n_near] = d2
            n_near += 1
    return n_near


@njit(nogil=True, cache=True)
def reduce_tile(
    g,
    norm_a,
    norm_b,
    y_a,
    y_b,
    index_a,
    index_b,
    primary_a,
    primary_b,
    numeric,
    near2,
    triangle,
    both,
    knn_d2_a,
    knn_index_a,
    sharp_a,
    sharp_d2_a,
    sharp_index_a,
    knn_d2_b,
    knn_index_b,
    sharp_b,
    sharp_d2_b,
    sharp_index_b,
    near_a,
    near_b,
    near_d2,
):
    """Fold one tile; return the number of near pairs written.

    Parameters
    ----------
    g : int32 or int64 [m, n]
        Inner products of the shifted images.
    norm_a, norm_b : float64 [m], [n]
        Squared norms of the shifted images; integers, exact.
    y_a, y_b : float64
        Labels: class codes, or numbers if `numeric`; NaN = unlabelled (equal to nothing, different from nothing).
    index_a, index_b : int32
        Global row numbers.
    primary_a, primary_b : bool
        Whether the row may stand in a neighbour list (one row for each distinct image).
    near2 : float
        Squared near-duplicate distance; negative: do not collect near pairs.
    triangle : bool
        The tile lies on the diagonal: only pairs with column > row, and a and b are the same rows.
    both : bool
        Update the columns too.
    near_a, near_b, near_d2 : int32 [m * n], int32, float64
        Buffers that the near pairs are written to.
    """
    m, n = g.shape
    k_a = knn_d2_a.shape[1]
    k_b = knn_d2_b.shape[1] if both else 0
    near2 = np.float64(near2)
    reach_b = np.full(n, near2)  # a pair within this distance of column j matters to it
    floor_b = np.full(n, np.inf)  # a pair sharper than this matters to column j
    if both:
        for j in range(n):
            if k_b > 0:
                reach_b[j] = max(near2, knn_d2_b[j, 0])
            floor_b[j] = sharp_b[j] * _SLACK
    marks = np.zeros(STRIP, np.uint8)
    eights = marks.view(np.uint64)  # eight columns at a look
    n_near = 0
    for i in range(m):
        norm_i = norm_a[i]
        y_i = y_a[i]
        reach_i = near2
        if k_a > 0:
            reach_i = max(near2, knn_d2_a[i, 0])
        floor_i = sharp_a[i] * _SLACK
        first = i + 1 if triangle else 0
        start = first
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
                        continue  # identical images: found by their content, not here
                    step = y_i - y_b[j]
                    rise = label_rise(step, numeric)
                    if not ((d2 <= max(reach_i, reach_b[j])) | (rise > d2 * min(floor_i, floor_b[j]))):
                        continue
                    value = rise / d2
                    _offer(
                        i,
                        d2,
                        value,
                        index_b[j],
                        primary_b[j],
                        knn_d2_a,
                        knn_index_a,
                        sharp_a,
                        sharp_d2_a,
                        sharp_index_a,
                    )
                    if both:
                        _offer(
                            j,
                            d2,
                            value,
                            index_a[i],
                            primary_a[i],
                            knn_d2_b,
                            knn_index_b,
                            sharp_b,
                            sharp_d2_b,
                            sharp_index_b,
                        )
                    if d2 <= near2 and primary_a[i] and primary_b[j]:
                        near_a[n_near] = index_a[i]
                        near_b[n_near] = index_b[j]
                        near_d2[n_near] = d2
                        n_near += 1
                    if both:
                        if k_b > 0:
                            reach_b[j] = max(near2, knn_d2_b[j, 0])
                        floor_b[j] = sharp_b[j] * _SLACK
                    if k_a > 0:
                        reach_i = max(near2, knn_d2_a[i, 0])
                    floor_i = sharp_a[i] * _SLACK
            start = stop
    return n_near


@njit(nogil=True, cache=True, inline="always")
def _shift(pixels, shifted):
    total = np.int32(0)
    for j in range(pixels.shape[0]):
        v = np.int8(pixels[j] ^ 128)  # x - 128, in as many bits
        shifted[j] = v
        # a square fits int16: the compiler then multiplies and adds twice as many at once
        total = np.int32(total + np.int32(np.int16(np.int16(v) * np.int16(v))))
    return total


@njit(nogil=True, cache=True)
def shift_rows(pixels, shifted, norms):
    """Write uint8 pixels as int8 ``x - 128`` and the exact squared norm of each shifted row."""
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
            while place > 0 and _after(out_d2[i, place - 1], out_index[i, place - 1], d2, index):
                out_d2[i, place] = out_d2[i, place - 1]
                out_index[i, place] = out_index[i, place - 1]
                place -= 1
            out_d2[i, place] = d2
            out_index[i, place] = index


@njit(nogil=True, cache=True)
def carry_lists(old_d2, old_index, old_rows, new_rows, went, out_d2, out_index, whole):
    """Move sorted neighbour lists to new row numbers, as heaps; a list that names a row that is gone is left alone.

    Parameters
    ----------
    old_rows, new_rows : int64 [m]
        The lists, before and after.
    went : int64 [n]
        New number of each old row, -1 if it is gone.
    whole : bool [m]
        Written: whether the list was moved.
    """
    k = old_d2.shape[1]
    for e in range(old_rows.shape[0]):
        i = old_rows[e]
        j = new_rows[e]
        whole[e] = True
        for slot in range(k):
            if old_index[i, slot] != EMPTY and went[old_index[i, slot]] < 0:
                whole[e] = False
                break
        if whole[e]:
            for slot in range(k):
                index = old_index[i, slot]
                out_d2[j, k - 1 - slot] = old_d2[i, slot]
                out_index[j, k - 1 - slot] = index if index == EMPTY else np.int32(went[index])
