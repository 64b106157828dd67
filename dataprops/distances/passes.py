"""All pairs of one or two blocks in this process, as tiles on threads.

A *block* is a set of rows in memory, shifted to int8, with norms and labels. A *unit* is all pairs within one block or between two.
Threads take *tiles* from a shared list; each multiplies and reduces on its own (torch is single-threaded inside), so products and
epilogues of different tiles overlap. Epilogues of tiles that share rows are serialised by one lock per run of rows.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np
import torch

from dataprops.distances.folds import BoundGate, Side, Unit, look_at
from dataprops.distances.ordering import alike_together, run_length
from dataprops.distances.pooled import Pooled, empty_pictures, pool_into
from dataprops.distances.runner import Runner
from dataprops.distances.sketch import CHUNK, Sketch, run_over
from dataprops.distances.state import NearPairs, PassSpec, State
from dataprops.distances.tiles import EDGE, SMALLEST_EDGE, Tile, rectangle_tiles, triangle_tiles

TILES_OF_A_THREAD = 6  # with fewer, some threads idle at the end
WIDEST_EDGE = 8 * EDGE  # maximum columns of a tile with few rows


def in_order(side: Side, edge: int) -> Side:
    """Reorder a sketched side so that similar rows are adjacent, in runs of about `edge`."""
    block, state, sketch, _, _ = side
    assert sketch is not None
    order = alike_together(sketch, min(edge, SMALLEST_EDGE))
    block = block._replace(
        norm=block.norm[order], y=block.y[order], number=block.number[order], primary=block.primary[order]
    )
    if state is not None:
        state = state.part(order)
    return Side(block, state, sketch.take(order), order)


def put_in_place(side: Side, state: State) -> None:
    """Write a reordered side's state back in the original row order."""
    if side.order is None or side.state is None:
        return
    for whole, ordered in zip(state, side.state, strict=True):
        whole[side.order] = ordered


class _Cut(NamedTuple):
    """A unit in processing order, its tiles, and the tile's rows and columns."""

    unit: Unit
    tiles: Iterator[Tile]
    rows: int
    columns: int
    within: bool


def with_pictures(side: Side, threads: int) -> Side:
    """Add the downscaled images that the side's sketches require."""
    levels = () if side.sketch is None else side.sketch.levels
    return side._replace(pictures=tuple(pictures_of(side, level, threads) for level in levels))


def pictures_of(side: Side, factor: int, threads: int) -> Pooled:
    """Downscaled images of a side's rows, in the side's order."""
    n = side.block.n
    out = empty_pictures(n, side.block.features, factor)

    def work(start: int) -> None:
        part = slice(start, start + CHUNK)
        pool_into(out.part(part), side.pixels(part), side.block.norm[part])

    run_over(range(0, n, CHUNK), work, threads)
    return out


def _cut(a: Side, b: Side | None, spec: PassSpec, runner: Runner) -> _Cut:
    edge = runner.edge
    sketched = a.sketch is not None and (b is None or b.sketch is not None)
    rows = columns = edge
    if sketched:
        # a tile is one run of similar rows by another
        rows = columns = run_length(a.block.n, edge)
        if b is not None:
            columns = run_length(b.block.n, max(edge, min(WIDEST_EDGE, edge * edge // (2 * rows))))
        if a.block.n > edge:  # with one or two tiles, order does not matter
            a = in_order(a, rows)
            b = None if b is None else in_order(b, columns)
        if not any(side.block.later for side in (a, b) if side is not None):  # if all pixels are in memory
            a = with_pictures(a, runner.threads)
            b = None if b is None else with_pictures(b, runner.threads)
    else:
        a = a._replace(sketch=None)
        b = None if b is None else b._replace(sketch=None)
        rows = columns = shared_edge(a.block.n, a.block.n if b is None else b.block.n, runner)
    if b is None:
        within = Unit(a, a, spec)
        return _Cut(within, nearest_first(within, triangle_tiles(a.block.n, rows)), rows, rows, True)
    across = Unit(a, b, spec)
    tiles = nearest_first(across, rectangle_tiles(a.block.n, b.block.n, rows, columns))
    return _Cut(across, tiles, rows, columns, False)


def shared_edge(m: int, n: int, runner: Runner) -> int:
    """Tile size for a unit, small enough to occupy all threads."""
    edge = runner.edge
    while edge > SMALLEST_EDGE and math.ceil(m / edge) * math.ceil(n / edge) < TILES_OF_A_THREAD * runner.threads:
        edge //= 2
    return max(edge, min(runner.edge, SMALLEST_EDGE))


def nearest_first(unit: Unit, tiles: Iterator[Tile]) -> Iterator[Tile]:
    """Sort tiles by the distance between the centres of their rows and columns, so that near ones prune the rest."""
    a, b, _ = unit
    if a.sketch is None or b.sketch is None or a.order is None:
        return tiles
    every = list(tiles)

    def centres(sketch: Sketch, parts: list[slice]) -> np.ndarray:
        runs = {part.start: part for part in parts}
        means = {start: sketch.codes[part].float().mean(dim=0).numpy() for start, part in runs.items()}
        return np.array([means[part.start] for part in parts])

    apart = centres(a.sketch, [tile.rows for tile in every]) - centres(b.sketch, [tile.columns for tile in every])
    order = np.argsort((apart * apart).sum(axis=1), kind="stable")
    return iter([every[i] for i in order])


def run_unit(
    a: Side,
    b: Side | None,
    spec: PassSpec,
    near: NearPairs,
    runner: Runner,
    on_pairs: Callable[[int], None] | None = None,
) -> None:
    """Fold all pairs of a block (b None), or of two blocks, into their states, in place.

    Parameters
    ----------
    a, b : Side
        b None: each unordered pair within `a` once. Otherwise all pairs of `a` x `b`, which must share no row if both have states;
        if `b` has no state, only the rows of `a` are updated. If both have sketches of the same basis, lower bounds prune pairs;
        this never changes the result.
    runner : Runner
        Threads and tile size.
    on_pairs : callable, optional
        Called with the number of pairs after each tile, from any thread.
    """
    if not spec.sharp:
        a, b = unlabelled(a), None if b is None else unlabelled(b)
    cut = _cut(a, b, spec, runner)
    unit = cut.unit
    locks_a = [threading.Lock() for _ in range(0, unit.a.block.n, cut.rows)]
    locks_b = locks_a if cut.within else [threading.Lock() for _ in range(0, unit.b.block.n, cut.columns)]
    take = threading.Lock()
    gate = BoundGate(2 * len(locks_a))

    def locks(tile: Tile) -> list[threading.Lock]:
        # the same order in all threads, to avoid deadlock: rows before columns (within one block rows have smaller numbers)
        first, second = tile.rows.start // cut.rows, tile.columns.start // cut.columns
        return [locks_a[first]] if tile.triangle or unit.b.state is None else [locks_a[first], locks_b[second]]

    def work() -> None:
        torch.set_num_threads(1)
        while True:
            with take:
                tile = next(cut.tiles, None)
            if tile is None:
                return
            for fold in look_at(unit, tile, gate):
                with ExitStack() as held:
                    for lock in locks(tile):
                        held.enter_context(lock)
                    fold(near)
            if on_pairs:
                on_pairs(tile.pairs)

    _on_threads(work, runner.threads)
    for side, given in ((unit.a, a), (unit.b, b)):
        if given is not None and given.state is not None:
            put_in_place(side, given.state)


def unlabelled(side: Side) -> Side:
    """The side without labels."""
    return side._replace(block=side.block._replace(y=np.full(side.block.n, np.nan)))


def _on_threads(work: Callable[[], None], threads: int) -> None:
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
