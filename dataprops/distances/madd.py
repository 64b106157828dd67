"""Exact products of int8 rows by `pmaddwd`, which adds two int16 products in an int32: for processors without int8 products (VNNI).

As in other matrix libraries, `DEPTH` features at a time of both tiles are packed into panels, as int16 in the order in which
`_block` reads them, and each block of `ROWS` x `COLUMNS` sums stays in registers. It takes half the time of float32 products.
Sums do not overflow up to `product.INT32_FEATURES` features.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from torch import Tensor, from_numpy

from dataprops.distances.lanes import (
    INT8,
    INT32,
    INT64,
    called,
    compiled_in,
    data,
    load,
    places,
    spread,
    summed,
    supported,
    total,
)
from dataprops.util.compiled import njit

LANES = 16 if supported("avx512bw") else 8  # int32 sums of a vector
VECTORS = 2
ROWS, COLUMNS = 6, LANES * VECTORS  # a block: its sums and what they are made of fill the registers
DEPTH = 512  # features at a time: a panel stays in the first cache
CHAINS = 4

SUMS, PAIRS = ir.VectorType(INT32, LANES), ir.VectorType(ir.IntType(16), 2 * LANES)
SHORT = 2 * LANES  # int8 values of a vector
STEP = CHAINS * SHORT  # int8 values per step of `madd_sum`


def _madd(builder: Any, sums: Any, a: Any, b: Any) -> Any:
    """Per lane, add two int16 products to an int32."""
    name = "llvm.x86.avx512.pmaddw.d.512" if LANES == 16 else "llvm.x86.avx2.pmadd.wd"
    return builder.add(sums, called(builder, name, SUMS, [a, b]))


@compiled_in
def _block(typing: Any, a: Any, b: Any, out: Any, at: Any, stride: Any, pairs: Any) -> Any:
    """Add the products of `ROWS` rows and `COLUMNS` columns to `out`, int32 with rows `stride` apart.

    Parameters
    ----------
    a, b, out : int16, int16, int32
        Flat: rows of `pairs` (>= 1) pairs of features; panels of as many pairs of `COLUMNS` rows; sums.
    at : three int64
        Offsets in them.
    """
    signature = types.void(a, b, out, types.UniTuple(types.int64, 3), types.int64, types.int64)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        first_a, first_b, first_out = (
            builder.gep(data(context, builder, kind, array), [builder.extract_value(args[3], i)])
            for i, (kind, array) in enumerate(zip(signature.args[:3], args[:3], strict=True))
        )

        def more(step: Any, sums: list[Any]) -> list[Any]:
            of_b, of_a = builder.mul(step, INT64(2 * COLUMNS)), builder.mul(step, INT64(2))
            row_of_a = builder.mul(args[5], INT64(2))
            columns = [
                load(builder, builder.gep(first_b, [builder.add(of_b, INT64(2 * LANES * v))]), PAIRS, 2)
                for v in range(VECTORS)
            ]
            out = []
            for r in range(ROWS):
                place = builder.add(of_a, builder.mul(row_of_a, INT64(r)))
                pair = load(builder, builder.gep(first_a, [place]), INT32, 2)
                row = builder.bitcast(spread(builder, SUMS, pair), PAIRS)
                out += [_madd(builder, sums[r * VECTORS + v], row, columns[v]) for v in range(VECTORS)]
            return out

        sums = summed(builder, SUMS, ROWS * VECTORS, args[5], more)
        for r in range(ROWS):
            for v in range(VECTORS):
                place = builder.gep(first_out, [builder.add(builder.mul(args[4], INT64(r)), INT64(LANES * v))])
                whole = builder.add(load(builder, place, SUMS, 4), sums[r * VECTORS + v])
                builder.store(whole, builder.bitcast(place, SUMS.as_pointer()), align=4)
        return context.get_dummy_value()

    return signature, generate


def _sum(chains: int) -> Any:
    """Inner product of `steps` (>= 1) x `chains` x `SHORT` int8 values of two flat arrays from the given offsets, as int32."""
    values = ir.VectorType(INT8, SHORT)

    def kind(typing: Any, a: Any, b: Any, start_a: Any, start_b: Any, steps: Any) -> Any:
        return types.int32(a, b, types.int64, types.int64, types.int64), generate

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        first = places(context, builder, signature, args)

        def more(step: Any, sums: list[Any]) -> list[Any]:
            out = []
            for chain in range(chains):
                place = builder.add(builder.mul(step, INT64(SHORT * chains)), INT64(SHORT * chain))
                x, y = (builder.sext(load(builder, builder.gep(begin, [place]), values, 1), PAIRS) for begin in first)
                out.append(_madd(builder, sums[chain], x, y))
            return out

        return total(builder, functools.reduce(builder.add, summed(builder, SUMS, chains, args[4], more)))

    return compiled_in(kind)


madd_sum, madd_rest = _sum(CHAINS), _sum(1)


@compiled_in
def _turn(typing: Any, x: Any, out: Any, start: Any, stride: Any, place: Any) -> Any:
    """Transpose `LANES` pairs of int8 values of `LANES` rows, `stride` apart, to int16 pairs `COLUMNS` apart."""
    signature = types.void(x, out, types.int64, types.int64, types.int64)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        first, to = (data(context, builder, signature.args[i], args[i]) for i in range(2))
        values, rows = ir.VectorType(INT8, SHORT), []
        for r in range(LANES):
            at = builder.add(args[2], builder.mul(args[3], INT64(r)))
            wide = builder.sext(load(builder, builder.gep(first, [at]), values, 1), PAIRS)
            rows.append(builder.bitcast(wide, SUMS))
        apart = 1
        while apart < LANES:  # exchange squares of this size beside the diagonal
            for r in [r for r in range(LANES) if not r & apart]:
                a, b = rows[r], rows[r + apart]
                for to_row, beyond in ((r, 0), (r + apart, apart)):
                    order = [i + beyond if not i & apart else LANES + i - apart + beyond for i in range(LANES)]
                    rows[to_row] = builder.shuffle_vector(a, b, ir.Constant(SUMS, order))
            apart *= 2
        for k, row in enumerate(rows):
            at = builder.gep(to, [builder.add(args[4], INT64(2 * COLUMNS * k))])
            builder.store(row, builder.bitcast(at, SUMS.as_pointer()), align=2)
        return context.get_dummy_value()

    return signature, generate


@njit(nogil=True)
def _widened(x, begin, end, out):
    """Features begin:end of the rows of x as int16, and zeros up to an even number of features."""
    wide = (end - begin + 1) // 2 * 2
    for i in range(x.shape[0]):
        row = out[i * wide : (i + 1) * wide]
        row[-1] = 0
        for k in range(end - begin):
            row[k] = x[i, begin + k]


@njit(nogil=True)
def _panels(x, begin, end, out):
    """Features begin:end of the rows of x as int16 [panel][pair of features][row of the panel][2], zeros beyond the last."""
    flat, features = x.reshape(-1), x.shape[1]
    pairs = (end - begin + 1) // 2
    for first in range(0, x.shape[0], COLUMNS):
        panel = 2 * first * pairs
        turned = 0
        if first + COLUMNS <= x.shape[0]:
            turned = (end - begin) // SHORT * LANES
            for k in range(0, turned, LANES):
                for j in range(0, COLUMNS, LANES):
                    start = (first + j) * features + begin + 2 * k
                    _turn(flat, out, start, features, panel + 2 * (k * COLUMNS + j))
        for k in range(turned, pairs):
            for j in range(COLUMNS):
                at, row, feature = panel + 2 * (k * COLUMNS + j), first + j, begin + 2 * k
                out[at] = x[row, feature] if row < x.shape[0] else 0
                out[at + 1] = x[row, feature + 1] if row < x.shape[0] and feature + 1 < end else 0


@njit(nogil=True)
def _multiply(a, b, out):
    """Add a @ b.T to out: int8 [m, D], [n, D], int32 [m, n]."""
    m, n, features = a.shape[0], b.shape[0], a.shape[1]
    flat, edge = out.reshape(-1), np.empty(ROWS * COLUMNS, np.int32)
    tall, across = -(-m // ROWS), -(-n // COLUMNS)
    of_a, of_b = np.zeros(tall * ROWS * DEPTH, np.int16), np.empty(across * COLUMNS * DEPTH, np.int16)
    for begin in range(0, features, DEPTH):
        end = min(features, begin + DEPTH)
        pairs = (end - begin + 1) // 2
        _widened(a, begin, end, of_a)
        _panels(b, begin, end, of_b)
        for i in range(tall):
            for j in range(across):
                at_a, at_b = 2 * i * ROWS * pairs, 2 * j * COLUMNS * pairs
                rows, columns = min(ROWS, m - i * ROWS), min(COLUMNS, n - j * COLUMNS)
                if rows == ROWS and columns == COLUMNS:
                    _block(of_a, of_b, flat, (at_a, at_b, i * ROWS * n + j * COLUMNS), n, pairs)
                else:
                    edge[:] = 0
                    _block(of_a, of_b, edge, (at_a, at_b, 0), COLUMNS, pairs)
                    out[i * ROWS : i * ROWS + rows, j * COLUMNS : j * COLUMNS + columns] += edge.reshape(ROWS, COLUMNS)[
                        :rows, :columns
                    ]


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """a @ b.T: int8 [m, D], [n, D] -> int32 [m, n]."""
    out = np.zeros((a.shape[0], b.shape[0]), np.int32)
    _multiply(a.contiguous().numpy(), b.contiguous().numpy(), out)
    return from_numpy(out)
