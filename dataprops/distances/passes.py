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
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from dataprops.distances import kernel
from dataprops.distances.product import choose_route, product
from dataprops.distances.sketch import (
    Limits,
    Sketch,
    alike_together,
    candidates,
    choose_basis,
    limits,
    make_sketch,
    pair_products,
    run_length,
    take_rows,
    width,
)
from dataprops.distances.state import NearPairs, State

EDGE = 1024  # rows of a tile: int32 4 MB; larger does not speed the product up, smaller does not speed the epilogue up
# Of a tile's pairs, by the product's route: one by one, more would cost as much as the product of all
CHOSEN_SHARE = {"int8": 1 / 16, "float32": 1 / 4}
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


def halves(start: int, stop: int) -> Iterator[Tile]:
    """Cover the upper triangle of rows start..stop by smaller tiles: half of a triangle's product would be wasted."""
    if stop - start <= SMALLEST_EDGE:
        yield Tile(slice(start, stop), slice(start, stop), True)
        return
    middle = (start + stop) // 2
    yield from halves(start, middle)
    yield from halves(middle, stop)
    yield Tile(slice(start, middle), slice(middle, stop), False)


def triangle_tiles(n: int, edge: int = EDGE) -> Iterator[Tile]:
    """Tiles that cover each unordered pair of n rows once, along diagonals."""
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


class Side(NamedTuple):
    """One side of a unit: its rows, what they find, and, where sketches are used, these and the order of the rows.

    With an `order`, position r of the side is row order[r] of the block: labels, numbers, states and sketches are in the
    order already, the pixels stay where they are.
    """

    block: Block
    state: State | None
    sketch: Sketch | None
    order: np.ndarray | None

    def positions(self, rows: slice) -> np.ndarray:
        """Rows of the block."""
        return np.arange(rows.start, rows.stop) if self.order is None else self.order[rows]

    def pixels(self, rows: slice) -> torch.Tensor:
        """int8 [rows, D]."""
        if self.order is None:
            return self.block.shifted[rows]
        return take_rows(self.block.shifted, self.order[rows])


def sketch_sides(a: Side, b: Side | None, edge: int, threads: int) -> tuple[Side, Side | None] | None:
    """Both sides with sketches, similar rows together in runs of about `edge`; None where it does not pay."""
    features = a.block.shifted.shape[1]
    coordinates = width(features, a.block.n if b is None else min(a.block.n, b.block.n))
    basis = choose_basis(a.block.shifted, a.block.norm, coordinates) if coordinates else None
    if basis is None:
        return None

    def with_sketch(side: Side) -> Side:
        block, state = side.block, side.state
        sketch = make_sketch(basis, block.shifted, block.norm, threads)
        order = alike_together(sketch, min(edge, SMALLEST_EDGE))
        block = block._replace(
            norm=block.norm[order], y=block.y[order], number=block.number[order], primary=block.primary[order]
        )
        if state is not None:
            state = State(*(array[order] for array in state))
        return Side(block, state, sketch.take(order), order)

    return with_sketch(a), None if b is None else with_sketch(b)


def put_in_place(side: Side, state: State) -> None:
    """Write a side's state back to where its rows were."""
    assert side.state is not None
    for whole, ordered in zip(state, side.state, strict=True):
        whole[side.order] = ordered


class Odds:
    """Whether looking at bounds first has paid so far: on data without structure it never does, and is given up.

    Parameters
    ----------
    trials : int
        Tiles that may be lost at the start: rows that are alike lie together, and meet each other first.
    """

    def __init__(self, trials: int) -> None:
        self.trials = trials
        self.paid = 0
        self.lost = 0

    @property
    def good(self) -> bool:
        return self.lost <= self.trials + self.paid


Fold = Callable[[NearPairs], None]


def look_at(a: Side, b: Side, tile: Tile, spec: PassSpec, odds: Odds) -> Iterator[Fold]:
    """Compute what a tile needs, without touching any state; yields what folds it in, to be called under the locks.

    Where lower bounds prove that few of the pairs matter, these alone are computed; else the product of the whole tile. Of a tile
    on the diagonal, small squares along it are computed whole: they are what gives every row its first bounds.
    """
    if a.sketch is not None and not tile.triangle and odds.good:
        chosen = close_pairs(a, b, tile, spec)
        if chosen is not None:
            odds.paid += 1
            yield partial(fold_chosen, *chosen, chosen_products(*chosen, a, b, tile), a, b, tile, spec)
            return
        odds.lost += 1
    route = choose_route("cpu")
    x = a.pixels(tile.rows)
    if not tile.triangle:
        yield partial(fold_tile, product(x, b.pixels(tile.columns), route).numpy(), a, b, tile, spec)
        return
    start = tile.rows.start
    for part in halves(start, tile.rows.stop):
        if a.sketch is not None and not part.triangle and odds.good:
            chosen = close_pairs(a, b, part, spec)
            if chosen is not None:
                yield partial(fold_chosen, *chosen, chosen_products(*chosen, a, b, part), a, b, part, spec)
                continue
        rows, columns = (slice(side.start - start, side.stop - start) for side in (part.rows, part.columns))
        g = product(x[rows], x[columns], route).numpy()
        if part.triangle and not np.array_equal(g.diagonal(), a.block.norm[part.rows]):
            raise RuntimeError(f"the {route} product gave wrong integers: its results cannot be used on this machine")
        yield partial(fold_tile, g, a, b, part, spec)


def chosen_products(rows: np.ndarray, columns: np.ndarray, a: Side, b: Side, tile: Tile) -> np.ndarray:
    """Inner products of some pairs of a tile, int64."""
    products = np.empty(len(rows), np.int64)
    pair_products(
        a.block.shifted.numpy(),
        b.block.shifted.numpy(),
        a.positions(tile.rows)[rows],
        b.positions(tile.columns)[columns],
        products,
    )
    return products


def close_pairs(a: Side, b: Side, tile: Tile, spec: PassSpec) -> tuple[np.ndarray, np.ndarray] | None:
    """Pairs of a tile that their bounds do not rule out, int32 rows and columns; None if they are too many.

    States are read while other threads may tighten them: a bound that is out of date lets more pairs through, none less.
    """
    assert a.sketch is not None and b.sketch is not None
    rows, columns = tile.rows, tile.columns
    route = choose_route("cpu")
    g = product(a.sketch.codes[rows], b.sketch.codes[columns], route).numpy()
    buffer = np.empty((2, 8 + int(g.size * CHOSEN_SHARE[route])), np.int32)
    if spec.numeric:  # float32 keeps labels to one part in 2^23
        least, most = max(_largest(a.block.y), _largest(b.block.y)) * 2.0**-22, np.inf
    else:
        least, most = 0.0, 1.0
    found = candidates(
        g, _limits(a, rows, spec), _limits(b, columns, spec), np.float32(most), np.float32(least), buffer[0], buffer[1]
    )
    return None if found < 0 else (buffer[0, :found], buffer[1, :found])


def _largest(y: np.ndarray) -> float:
    """Largest size of a label."""
    return float(np.nanmax(np.abs(y), initial=0.0))


def _limits(side: Side, rows: slice, spec: PassSpec) -> Limits:
    assert side.sketch is not None
    n = rows.stop - rows.start
    reach2, sharp = np.full(n, spec.near2), np.full(n, np.inf)
    if side.state is not None:
        sharp = side.state.sharp[rows].copy()
        if side.state.k:
            reach2 = np.maximum(reach2, side.state.knn_d2[rows, 0])
    return limits(side.sketch, rows, reach2, sharp, side.block.y[rows])


def _sides(a: Side, b: Side, tile: Tile, spec: PassSpec) -> tuple:
    """What both folds need of the rows and columns of a tile."""
    rows, columns = tile.rows, tile.columns
    assert a.state is not None
    target_a = a.state.part(rows)
    target_b = target_a if b.state is None else b.state.part(columns)
    per_row = ((x[rows], y[columns]) for x, y in zip(a.block[1:], b.block[1:], strict=True))
    return (*(part for pair in per_row for part in pair), spec.numeric, spec.near2), (*target_a, *target_b)


def fold_tile(g: np.ndarray, a: Side, b: Side, tile: Tile, spec: PassSpec, near: NearPairs) -> None:
    """Fold the products `g` of a whole tile; a side `b` without state: only the rows of `a` are asked for."""
    given, targets = _sides(a, b, tile, spec)
    buffers = _near_buffers(g.size if spec.near2 >= 0 else 1)
    found = kernel.reduce_tile(g, *given, tile.triangle, b.state is not None, *targets, *buffers)
    _add_near(near, buffers, found)


def fold_chosen(
    rows: np.ndarray,
    columns: np.ndarray,
    products: np.ndarray,
    a: Side,
    b: Side,
    tile: Tile,
    spec: PassSpec,
    near: NearPairs,
) -> None:
    """Fold single pairs of a tile; as `fold_tile`."""
    given, targets = _sides(a, b, tile, spec)
    buffers = _near_buffers(len(rows) if spec.near2 >= 0 else 1)
    found = kernel.fold_pairs(rows, columns, products, *given, b.state is not None, *targets, *buffers)
    _add_near(near, buffers, found)


def _near_buffers(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.empty(size, np.int32), np.empty(size, np.int32), np.empty(size)


def _add_near(near: NearPairs, buffers: tuple[np.ndarray, ...], found: int) -> None:
    if found:
        near.add(*(buffer[:found] for buffer in buffers))


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
    sketches: bool = True,
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
    sketches : bool
        Whether lower bounds may spare products (see `sketch`): changes the time, never the result.
    """
    if not spec.sharp:  # no label differs from another
        a = a._replace(y=np.full(a.n, np.nan))
        b = None if b is None else b._replace(y=np.full(b.n, np.nan))
    side_a = Side(a, state_a, None, None)
    side_b = None if b is None else Side(b, state_b, None, None)
    sketched = sketch_sides(side_a, side_b, edge, threads) if sketches else None
    if sketched is not None:
        side_a, side_b = sketched
        edge = run_length(a.n, edge)  # tiles and runs of similar rows are the same
    within = side_b is None
    if side_b is None:
        side_b, tiles = side_a, triangle_tiles(a.n, edge)
        locks_a = locks_b = [threading.Lock() for _ in range(0, a.n, edge)]
    else:
        tiles = rectangle_tiles(a.n, side_b.block.n, edge)
        locks_a = [threading.Lock() for _ in range(0, a.n, edge)]
        locks_b = [threading.Lock() for _ in range(0, side_b.block.n, edge)]
    take = threading.Lock()
    odds = Odds(2 * len(locks_a))

    def locks(tile: Tile) -> list[threading.Lock]:
        # in one order for all threads: rows before columns, and within one block the rows are the smaller numbers
        first, second = tile.rows.start // edge, tile.columns.start // edge
        if tile.triangle:
            return [locks_a[first]]
        return [locks_a[first], locks_b[second]] if side_b.state is not None else [locks_a[first]]

    def work() -> None:
        torch.set_num_threads(1)
        while True:
            with take:
                tile = next(tiles, None)
            if tile is None:
                return
            for fold in look_at(side_a, side_b, tile, spec, odds):
                with ExitStack() as held:
                    for lock in locks(tile):
                        held.enter_context(lock)
                    fold(near=near)
            if on_pairs:
                m, n = tile.rows.stop - tile.rows.start, tile.columns.stop - tile.columns.start
                on_pairs(m * (m - 1) // 2 if tile.triangle else m * n)

    before = torch.get_num_threads()
    try:
        if threads <= 1:
            work()
        else:
            with ThreadPoolExecutor(threads, "pairs") as pool:
                for future in [pool.submit(work) for _ in range(threads)]:
                    future.result()
    finally:
        torch.set_num_threads(before)
    if sketched is not None:
        put_in_place(side_a, state_a)
        if not within and state_b is not None:
            put_in_place(side_b, state_b)
