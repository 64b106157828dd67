"""All pairs of one or two blocks in this process: tiles over threads.

A *block* is some rows in memory, shifted to int8, with norms and labels. A *unit* is all pairs of one block, or of two. Threads
take *tiles* from one list; each multiplies and reduces alone (torch runs single-threaded inside), so product and epilogue of
different tiles overlap without synchronisation. Two tiles that share rows take turns in the epilogue by a lock for each run of
rows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import torch

from dataprops.distances.folds import Block, Odds, Side, look_at
from dataprops.distances.sketch import Sketch, alike_together, run_length
from dataprops.distances.state import NearPairs, PassSpec, State
from dataprops.distances.tiles import EDGE, SMALLEST_EDGE, Tile, rectangle_tiles, triangle_tiles

WIDEST_EDGE = 8 * EDGE  # columns of a tile of few rows


def in_order(side: Side, edge: int) -> Side:
    """A sketched side with similar rows together, in runs of about `edge`: neighbours meet in the first tiles."""
    block, state, sketch, _ = side
    assert sketch is not None
    order = alike_together(sketch, min(edge, SMALLEST_EDGE))
    block = block._replace(
        norm=block.norm[order], y=block.y[order], number=block.number[order], primary=block.primary[order]
    )
    if state is not None:
        state = state.part(order)
    return Side(block, state, sketch.take(order), order)


def put_in_place(side: Side, state: State) -> None:
    """Write a side's state back to where its rows were."""
    if side.order is None or side.state is None:
        return
    for whole, ordered in zip(state, side.state, strict=True):
        whole[side.order] = ordered


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
    sketch_a: Sketch | None = None,
    sketch_b: Sketch | None = None,
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
    sketch_a, sketch_b : Sketch, optional
        Of the rows of `a` and `b`, made by one basis: lower bounds spare products. They change the time, never the result.
    """
    if not spec.sharp:  # no label differs from another
        a = a._replace(y=np.full(a.n, np.nan))
        b = None if b is None else b._replace(y=np.full(b.n, np.nan))
    sketched = sketch_a is not None and (b is None or sketch_b is not None)
    side_a = Side(a, state_a, sketch_a if sketched else None)
    side_b = None if b is None else Side(b, state_b, sketch_b if sketched else None)
    edge_a = edge_b = edge
    if sketched:
        # tiles and runs of similar rows are the same
        edge_a = edge_b = run_length(a.n, edge)
        if side_b is not None:
            edge_b = run_length(side_b.block.n, max(edge, min(WIDEST_EDGE, edge * edge // (2 * edge_a))))
        if a.n > edge:  # else every row meets every column in one tile or two
            side_a = in_order(side_a, edge_a)
            side_b = None if side_b is None else in_order(side_b, edge_b)
    within = side_b is None
    if side_b is None:
        side_b, tiles = side_a, triangle_tiles(a.n, edge_a)
    else:
        tiles = rectangle_tiles(a.n, side_b.block.n, edge_a, edge_b)
    locks_a = [threading.Lock() for _ in range(0, a.n, edge_a)]
    locks_b = locks_a if within else [threading.Lock() for _ in range(0, side_b.block.n, edge_b)]
    take = threading.Lock()
    odds = Odds(2 * len(locks_a))

    def locks(tile: Tile) -> list[threading.Lock]:
        # in one order for all threads: rows before columns, and within one block the rows are the smaller numbers
        first, second = tile.rows.start // edge_a, tile.columns.start // edge_b
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
    put_in_place(side_a, state_a)
    if not within and state_b is not None:
        put_in_place(side_b, state_b)
