"""Compute one tile and fold it into the states.

If rows have sketches, the products of their codes are computed first, which are cheap. They give

- *seeds*, for rows without neighbours yet: the pairs closest by their codes, which give the rows a first k-th distance;
- *close pairs*: those that the lower bounds do not prune. If they are few, only they are computed, else the whole tile.

Results do not change: every pair that could matter is computed exactly, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from dataprops.distances import kernel
from dataprops.distances.basis_choice import most_looked_at, pair_cost
from dataprops.distances.bounds import COLUMNS_AT_ONCE, Limits, PairBuffers, Rise, candidates, limits
from dataprops.distances.dots import choose_dots
from dataprops.distances.pooled import Pooled, still_close
from dataprops.distances.product import choose_route, code_product, product
from dataprops.distances.seeds import SeedRules, Seeds, SeedSide, choose_seeds
from dataprops.distances.sketch import Sketch, take_rows
from dataprops.distances.state import NearPairs, PassSpec, State
from dataprops.distances.tiles import Tile, halves

CHOSEN_WORK = 1.0  # maximum cost of single products, relative to the whole tile
SEED_COLUMNS = 2_048  # columns searched for seeds; more cost more than their tighter bounds save
NOTHING_SKIPPED = np.empty((0, 0), np.uint8)


class Block(NamedTuple):
    """Rows in memory: int8 [n, D] tensor and, for each row, squared norm, label, global number, primary flag.

    With `later` the pixels are not in memory (`shifted` is empty): it reads those at given positions, int8 [., D]. With `raw` they are
    read unshifted, uint8, strip by strip, and shifted on a device; `norm` is then unknown.
    """

    shifted: torch.Tensor
    norm: np.ndarray
    y: np.ndarray
    number: np.ndarray
    primary: np.ndarray
    later: Callable[[np.ndarray], torch.Tensor] | None = None
    raw: Callable[[np.ndarray], np.ndarray] | None = None

    @property
    def n(self) -> int:
        return len(self.number)

    @property
    def features(self) -> int:
        return self.shifted.shape[1]


def shift_into(pixels: np.ndarray, shifted: np.ndarray, norm: np.ndarray) -> None:
    """Write uint8 pixels [n, D] shifted to int8, and the squared norms of the shifted rows."""
    kernel.shift_rows(pixels, shifted, norm)


class Side(NamedTuple):
    """One side of a unit: its rows, their state (None: not collected) and, if used, their sketches, order and downscaled images.

    With an `order`, position r of the side is row order[r] of the block: labels, numbers, states, sketches and downscaled images are
    already in that order, pixels are not.
    """

    block: Block
    state: State | None
    sketch: Sketch | None = None
    order: np.ndarray | None = None
    pictures: tuple[Pooled, ...] = ()

    def positions(self, rows: slice) -> np.ndarray:
        """Rows of the block."""
        return np.arange(rows.start, rows.stop) if self.order is None else self.order[rows]

    def pixels(self, rows: slice) -> torch.Tensor:
        """int8 [rows, D]."""
        if self.block.later is not None:
            return self.block.later(self.positions(rows))
        if self.order is None:
            return self.block.shifted[rows]
        return take_rows(self.block.shifted, self.order[rows])


class Unit(NamedTuple):
    """All pairs of the rows of `a` with those of `b`; of one block with itself, `b` is `a`."""

    a: Side
    b: Side
    spec: PassSpec


class BoundGate:
    """Tracks whether testing bounds first saves work; turned off where it does not, as on data without structure.

    Parameters
    ----------
    trials : int
        Tiles tried before giving up: the first tiles hold similar rows, on which bounds prune least.
    """

    def __init__(self, trials: int) -> None:
        self.trials = trials
        self.paid = 0
        self.lost = 0

    @property
    def open(self) -> bool:
        return self.lost <= self.trials + self.paid


Fold = Callable[[NearPairs], None]


def look_at(unit: Unit, tile: Tile, gate: BoundGate) -> Iterator[Fold]:
    """Compute a tile without modifying any state; yields callables that fold it in, to be called under the locks."""
    a, b = unit.a, unit.b
    skip = NOTHING_SKIPPED
    if a.sketch is not None and b.sketch is not None and gate.open:
        codes = code_product(a.sketch.codes[tile.rows], b.sketch.codes[tile.columns], choose_route("cpu")).numpy()
        if tile.triangle:
            _check(codes, a.sketch.norm[tile.rows])
            skip = np.tri(len(codes), dtype=np.uint8)
        unbounded = unbounded_rows(unit, tile)
        if len(unbounded):
            skip = skip if skip.size else np.zeros(codes.shape, np.uint8)
            yield _fold_of(seeds(codes, unbounded, skip, unit, tile), unit, tile)
        chosen = close_pairs(codes, skip, unit, tile)
        if chosen is not None:
            gate.paid += 1
            yield _fold_of(chosen, unit, tile)
            return
        gate.lost += 1
    yield from whole_tile(unit, tile, skip)


def whole_tile(unit: Unit, tile: Tile, skip: np.ndarray) -> Iterator[Fold]:
    """All products of a tile; pairs marked in `skip`, uint8 [m, n] or [0, 0], have been folded already."""
    a, b = unit.a, unit.b
    route = choose_route("cpu")
    x = a.pixels(tile.rows)
    y = x if tile.triangle else b.pixels(tile.columns)
    for part in halves(tile.rows.start, tile.rows.stop) if tile.triangle else [tile]:
        rows = slice(part.rows.start - tile.rows.start, part.rows.stop - tile.rows.start)
        columns = slice(part.columns.start - tile.columns.start, part.columns.stop - tile.columns.start)
        g = product(x[rows], y[columns], route).numpy()
        if part.triangle:
            _check(g, a.block.norm[part.rows])
        if skip.size:  # the fold ignores these, as it does identical images
            g[skip[rows, columns] != 0] = np.iinfo(g.dtype).max // (1 if g.dtype == np.int32 else 4)
        yield partial(fold_tile, g, unit, part)


def _check(g: np.ndarray, norm: np.ndarray) -> None:
    """Verify that the product of each row with itself is its squared norm."""
    if not np.array_equal(g.diagonal(), norm):
        route = choose_route("cpu")
        raise RuntimeError(f"the {route} product gave wrong integers: its results cannot be used on this machine")


def _fold_of(chosen: PairBuffers, unit: Unit, tile: Tile) -> Fold:
    products = np.empty(len(chosen.rows), np.int64)
    pixels_a, rows = _pixels_at(unit.a.block, unit.a.positions(tile.rows)[chosen.rows])
    pixels_b, columns = _pixels_at(unit.b.block, unit.b.positions(tile.columns)[chosen.columns])
    choose_dots()(pixels_a, pixels_b, rows, columns, products)
    return partial(fold_chosen, kernel.TilePairs(*chosen, products), unit, tile)


def _pixels_at(block: Block, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An array that contains the rows at these positions of a block, and their positions in it."""
    if block.later is None:
        return block.shifted.numpy(), positions.astype(np.int32)
    needed, place = np.unique(positions, return_inverse=True)
    return block.later(needed).numpy(), place.astype(np.int32)


def unbounded_rows(unit: Unit, tile: Tile) -> np.ndarray:
    """Rows of a tile whose state cannot prune any pair yet, int64 positions in the tile."""
    a, b, spec = unit
    assert a.state is not None
    part = a.state.part(tile.rows)
    y = a.block.y[tile.rows]
    both = np.concatenate([y, b.block.y[tile.columns]])
    labels = both[~np.isnan(both)]
    unbounded = np.zeros(len(y), bool)
    if len(labels) and labels.min() < labels.max():
        unbounded = (part.sharp == 0.0) & ~np.isnan(y)
    if spec.k:
        unbounded |= np.isinf(part.knn_d2[:, 0])
    return np.nonzero(unbounded)[0]


def seeds(codes: np.ndarray, unbounded: np.ndarray, taken: np.ndarray, unit: Unit, tile: Tile) -> PairBuffers:
    """The best pairs of the unbounded rows by their codes; marks them in `taken`, uint8 [m, n]."""
    a, b, spec = unit
    assert a.sketch is not None and b.sketch is not None
    rows = tile.rows
    columns = slice(tile.columns.start, min(tile.columns.stop, tile.columns.start + SEED_COLUMNS))
    buffer = np.empty((2, len(unbounded) * (spec.k + 1)), np.int32)
    found = choose_seeds(
        codes,
        unbounded,
        SeedSide(a.sketch.norm[rows], a.block.y[rows], a.block.primary[rows]),
        SeedSide(b.sketch.norm[columns], b.block.y[columns], b.block.primary[columns]),
        SeedRules(spec.k, spec.sharp, spec.numeric, tile.triangle),
        Seeds(buffer[0], buffer[1], taken),
    )
    return PairBuffers(buffer[0, :found], buffer[1, :found])


def close_pairs(codes: np.ndarray, skip: np.ndarray, unit: Unit, tile: Tile) -> PairBuffers | None:
    """Pairs of a tile that the bounds do not prune and that are not in `skip`; None if there are too many.

    Other threads may tighten the states meanwhile; a stale bound only lets more pairs through.
    """
    a, b, spec = unit
    chosen = CHOSEN_WORK / pair_cost()
    looked = max(chosen, most_looked_at()) if a.pictures else chosen
    out = PairBuffers(*np.empty((2, COLUMNS_AT_ONCE + int(codes.size * looked)), np.int32))
    rise = Rise(np.float32(1.0), np.float32(0.0))
    if spec.numeric:  # float32 has a relative precision of 2^-23
        rise = Rise(np.float32(np.inf), np.float32(max(_largest(a.block.y), _largest(b.block.y)) * 2.0**-22))
    within = _limits(a, tile.rows, spec), _limits(b, tile.columns, spec)
    found = candidates(codes, *within, rise, skip, out)
    if found < 0:
        return None
    pairs = PairBuffers(out.rows[:found], out.columns[:found])
    for level in range(len(a.pictures)):
        pairs = _look_closer(pairs, level, unit, tile, (*within, rise))
    return pairs if len(pairs.rows) <= codes.size * chosen else None


def _look_closer(
    pairs: PairBuffers, level: int, unit: Unit, tile: Tile, within: tuple[Limits, Limits, Rise]
) -> PairBuffers:
    """Prune pairs further by the bounds of downscaled images."""
    a, b, _ = unit
    assert a.sketch is not None
    one, two = a.pictures[level].part(tile.rows), b.pictures[level].part(tile.columns)
    products = np.empty(len(pairs.rows), np.int64)
    choose_dots()(one.codes.numpy(), two.codes.numpy(), *pairs, products)
    measure = within[2], a.sketch.step / one.factor
    kept = still_close(kernel.TilePairs(*pairs, products), one.side, two.side, *within[:2], measure)
    return PairBuffers(pairs.rows[:kept], pairs.columns[:kept])


def _largest(y: np.ndarray) -> float:
    """Largest absolute label."""
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


def _sides(unit: Unit, tile: Tile) -> tuple[kernel.TileSide, kernel.TileSide, kernel.Rules]:
    """Arguments for the kernels: rows and columns of a tile, and the rules."""
    a, b, spec = unit
    assert a.state is not None
    rows, columns = a.state.part(tile.rows), None if b.state is None else b.state.part(tile.columns)

    def side(block: Block, part: slice, state: State) -> kernel.TileSide:
        return kernel.TileSide(block.norm[part], block.y[part], block.number[part], block.primary[part], *state)

    rules = kernel.Rules(spec.numeric, spec.near2, tile.triangle, columns is not None)
    # columns without a state are never written
    return side(a.block, tile.rows, rows), side(b.block, tile.columns, rows if columns is None else columns), rules


def fold_tile(g: np.ndarray, unit: Unit, tile: Tile, near: NearPairs) -> None:
    """Fold the products `g` of a whole tile; if side `b` has no state, only the rows of `a` are updated."""
    buffers = _near_buffers(g.size if unit.spec.near2 >= 0 else 1)
    _add_near(near, buffers, kernel.reduce_tile(g, *_sides(unit, tile), buffers))


def fold_chosen(pairs: kernel.TilePairs, unit: Unit, tile: Tile, near: NearPairs) -> None:
    """As `fold_tile`, for single pairs of a tile."""
    buffers = _near_buffers(len(pairs.rows) if unit.spec.near2 >= 0 else 1)
    _add_near(near, buffers, kernel.fold_pairs(pairs, *_sides(unit, tile), buffers))


def _near_buffers(size: int) -> kernel.NearBuffers:
    return kernel.NearBuffers(np.empty(size, np.int32), np.empty(size, np.int32), np.empty(size))


def _add_near(near: NearPairs, buffers: kernel.NearBuffers, found: int) -> None:
    if found:
        row, column, d2 = buffers
        near.add(row[:found], column[:found], d2[:found])
