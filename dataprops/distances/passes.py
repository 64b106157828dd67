"""All pairs of one or two blocks in this process: tiles over threads.

A *block* is some rows in memory, shifted to int8, with norms and labels. A *unit* is all pairs of one block, or of two. A
*tile* is one product, small enough that the epilogue finds it in cache. Threads take tiles from one list; each multiplies and
reduces alone (torch runs single-threaded inside), so product and epilogue of different tiles overlap without
synchronisation. Two tiles that share rows take turns in the epilogue by a lock for each run of rows. Tiles go along diagonals,
so that neighbours in the list rarely share rows and the diagonal itself - which gives every row a first k-th distance to
prune with - comes first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np
import torch

from dataprops.distances import kernel
from dataprops.distances.product import choose_route, product
from dataprops.distances.state import NearPairs, State

EDGE = 1024  # rows of a tile: int32 4 MB; larger does not speed the product up, smaller does not speed the epilogue up
SMALLEST_EDGE = 256  # diagonal tiles are halved down to this: half of a diagonal tile is wasted work


class PassSpec(NamedTuple):
    """What to collect.

    Attributes
    ----------
    k : int
        Neighbours of each row; 0 = none.
    numeric : bool
        Labels are numbers (sharpness (y_i - y_j)^2 / d^2) rather than classes (1 / d^2 where they differ).
    near2 : float
        Squared near-duplicate distance; negative = do not collect near pairs.
    near_limit : int
        Near pairs listed at most; all are counted.
    sharp : bool
        Collect the sharpest pair of each row.
    """

    k: int
    numeric: bool = False
    near2: float = -1.0
    near_limit: int = 1_000_000
    sharp: bool = True


class Block(NamedTuple):
    """Rows in memory: int8 [n, D] tensor and, for each row, squared norm, label, global number, primary flag."""

    shifted: torch.Tensor
    norm: np.ndarray
    y: np.ndarray
    number: np.ndarray
    primary: np.ndarray

    @property
    def n(self) -> int:
        return len(self.norm)


class Tile(NamedTuple):
    """A rectangle of pairs; `triangle`: on the diagonal, only pairs with column > row."""

    rows: slice
    columns: slice
    triangle: bool


def shift_into(pixels: np.ndarray, shifted: np.ndarray, norm: np.ndarray) -> None:
    """Shift uint8 pixels [n, D] to int8, with the squared norms of the shifted rows."""
    kernel.shift_rows(pixels, shifted, norm)


def _halve(start: int, stop: int) -> Iterator[Tile]:
    """Cover the upper triangle of rows start..stop by smaller tiles."""
    if stop - start <= SMALLEST_EDGE:
        yield Tile(slice(start, stop), slice(start, stop), True)
        return
    middle = (start + stop) // 2
    yield from _halve(start, middle)
    yield from _halve(middle, stop)
    yield Tile(slice(start, middle), slice(middle, stop), False)


def triangle_tiles(n: int, edge: int = EDGE) -> Iterator[Tile]:
    """Tiles that cover each unordered pair of n rows once, along diagonals."""
    cuts = [slice(start, min(n, start + edge)) for start in range(0, n, edge)]
    for rows in cuts:
        yield from _halve(rows.start, rows.stop)
    for offset in range(1, len(cuts)):
        for i in range(len(cuts) - offset):
            yield Tile(cuts[i], cuts[i + offset], False)


def triangle_strips(n: int, edge: int) -> Iterator[Tile]:
    """As `triangle_tiles`, with whole tiles on the diagonal: for a device where small products do not pay."""
    cuts = [slice(start, min(n, start + edge)) for start in range(0, n, edge)]
    for offset in range(len(cuts)):
        for i in range(len(cuts) - offset):
            yield Tile(cuts[i], cuts[i + offset], offset == 0)


def rectangle_tiles(m: int, n: int, edge: int = EDGE) -> Iterator[Tile]:
    """Tiles that cover m x n pairs, along wrapped diagonals."""
    rows = [slice(start, min(m, start + edge)) for start in range(0, m, edge)]
    columns = [slice(start, min(n, start + edge)) for start in range(0, n, edge)]
    for offset in range(len(columns)):
        for i, cut in enumerate(rows):
            yield Tile(cut, columns[(i + offset) % len(columns)], False)


def fold_tile(
    g: np.ndarray,
    a: Block,
    b: Block,
    tile: Tile,
    state_a: State,
    state_b: State | None,
    spec: PassSpec,
    near: NearPairs,
) -> None:
    """Fold the products `g` of one tile into the states; `state_b` None: only the rows of `a` are asked for."""
    rows, columns = tile.rows, tile.columns
    target_a = state_a.part(rows)
    target_b = target_a if state_b is None else state_b.part(columns)
    size = g.size if spec.near2 >= 0 else 1
    near_a, near_b, near_d2 = np.empty(size, np.int32), np.empty(size, np.int32), np.empty(size)
    found = kernel.reduce_tile(
        g,
        a.norm[rows],
        b.norm[columns],
        a.y[rows],
        b.y[columns],
        a.number[rows],
        b.number[columns],
        a.primary[rows],
        b.primary[columns],
        spec.numeric,
        spec.near2,
        tile.triangle,
        state_b is not None,
        *target_a,
        *target_b,
        near_a,
        near_b,
        near_d2,
    )
    if found:
        near.add(near_a[:found], near_b[:found], near_d2[:found])


def run_unit(
    a: Block,
    b: Block | None,
    state_a: State,
    state_b: State | None,
    spec: PassSpec,
    near: NearPairs,
    *,
    threads: int,
    edge: int = EDGE,
    on_pairs: Callable[[int], None] | None = None,
) -> None:
    """Fold all pairs of a block (b None), or of two blocks, into their states.

    Parameters
    ----------
    a, b : Block
        b None: each unordered pair within `a` once. Else all pairs of `a` x `b`, which must share no row if both states are given.
    state_a, state_b : State
        Updated in place. With `b` given and `state_b` None only the rows of `a` are updated.
    on_pairs : callable, optional
        Told the number of pairs after each tile, from any thread.
    """
    route = choose_route("cpu")
    if not spec.sharp:  # no label differs from another
        a = a._replace(y=np.full(a.n, np.nan))
        b = None if b is None else b._replace(y=np.full(b.n, np.nan))
    if b is None:
        b, state_b, tiles = a, state_a, triangle_tiles(a.n, edge)
        locks_a = locks_b = [threading.Lock() for _ in range(0, a.n, SMALLEST_EDGE)]
    else:
        tiles = rectangle_tiles(a.n, b.n, edge)
        locks_a = [threading.Lock() for _ in range(0, a.n, edge)]
        locks_b = [threading.Lock() for _ in range(0, b.n, edge)]
    within = locks_a is locks_b
    take = threading.Lock()

    def locks(tile: Tile) -> list[threading.Lock]:
        # in one order for all threads: rows before columns, and within one block the rows are the smaller numbers
        first, second = tile.rows.start // edge, tile.columns.start // edge
        if within and first == second:
            return [locks_a[first]]
        return [locks_a[first], locks_b[second]] if state_b is not None else [locks_a[first]]

    def work() -> None:
        torch.set_num_threads(1)
        while True:
            with take:
                tile = next(tiles, None)
            if tile is None:
                return
            g = product(a.shifted[tile.rows], b.shifted[tile.columns], route).numpy()
            if tile.triangle and not np.array_equal(g.diagonal(), a.norm[tile.rows]):
                raise RuntimeError(
                    f"the {route} product gave wrong integers: its results cannot be used on this machine"
                )
            with ExitStack() as held:
                for lock in locks(tile):
                    held.enter_context(lock)
                fold_tile(g, a, b, tile, state_a, state_b, spec, near)
            if on_pairs:
                m, n = g.shape
                on_pairs(m * (m - 1) // 2 if tile.triangle else m * n)

    before = torch.get_num_threads()
    try:
        if threads <= 1:
            work()
            return
        with ThreadPoolExecutor(threads, "pairs") as pool:
            for future in [pool.submit(work) for _ in range(threads)]:
                future.result()
    finally:
        torch.set_num_threads(before)
