"""Comparison of directions that share a bucket: the compiled part of `partners`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dataprops.util.compiled import njit


class Side(NamedTuple):
    """Directions float32 [n, d] as rows, their keys int32 [tables, n] and signatures uint64 [n]."""

    rows: np.ndarray
    keys: np.ndarray
    signatures: np.ndarray


class Meeting(NamedTuple):
    """Number of buckets, maximum differing bits of signatures, edges of the blocks of b, and maximum 1 - cosine."""

    buckets: int
    limit: np.uint64
    edges: np.ndarray
    apart: np.float32


@njit(nogil=True, cache=True, inline="always")
def _ones(x):
    """Number of set bits of a uint64, in a form that compilers recognise."""
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (x * np.uint64(0x0101010101010101)) >> np.uint64(56)


@njit(nogil=True, cache=True)
def keys(projected, tables, planes):
    """Keys int32 [tables, n] of directions, one bit per plane, from projections float32 [n, tables * planes]."""
    out = np.zeros((tables, projected.shape[0]), np.int32)
    for i in range(projected.shape[0]):
        for table in range(tables):
            key = np.int32(0)
            for plane in range(planes):
                key = 2 * key + np.int32(projected[i, table * planes + plane] > 0)
            out[table, i] = key
    return out


@njit(nogil=True, cache=True)
def meetings(keys_a, keys_b, buckets):
    """Number of pairs that `meet` would visit."""
    total = 0
    for table in range(keys_b.shape[0]):
        count = np.zeros(buckets, np.int64)
        for j in range(keys_b.shape[1]):
            count[keys_b[table, j]] += 1
        for i in range(keys_a.shape[1]):
            total += count[keys_a[table, i]]
    return total


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def meet(one, other, rules, best, partner):
    """Lower `best` [n, blocks] (1 - cosine) and set `partner` for pairs with equal keys in a table and 1 - cosine below `apart`.

    Takes two `Side`s and a `Meeting`; row i of one is never paired with row i of the other.
    """
    a, keys_a, signature_a = one
    b, keys_b, signature_b = other
    buckets, limit, edges, apart = rules
    n = b.shape[0]
    starts = np.empty(buckets + 1, np.int64)
    order = np.empty(n, np.int32)
    block = np.empty(n, np.int32)
    signature = np.empty(n, np.uint64)
    for number in range(edges.shape[0] - 1):
        block[edges[number] : edges[number + 1]] = number
    for table in range(keys_b.shape[0]):
        starts[:] = 0
        for j in range(n):
            starts[keys_b[table, j] + 1] += 1
        for bucket in range(buckets):
            starts[bucket + 1] += starts[bucket]
        for j in range(n):  # afterwards starts[key] is the end of bucket key
            at = starts[keys_b[table, j]]
            order[at], signature[at] = j, signature_b[j]
            starts[keys_b[table, j]] = at + 1
        for i in range(a.shape[0]):
            key, own = keys_a[table, i], signature_a[i]
            for at in range(starts[key - 1] if key else 0, starts[key]):
                if _ones(own ^ signature[at]) <= limit and order[at] != i:
                    j = order[at]
                    cosine = np.float32(0)
                    for k in range(a.shape[1]):
                        cosine += a[i, k] * b[j, k]
                    value = np.float32(1) - cosine
                    if value < apart and value < best[i, block[j]]:
                        best[i, block[j]], partner[i, block[j]] = value, j
