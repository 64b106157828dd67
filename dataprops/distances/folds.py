"""What one tile adds to the states: products, and what they fold in.

Where rows have sketches the tile is looked at through them first. Products of the codes are cheap; from them come

- *seeds*, for rows that know no neighbours yet: the pairs that are closest by their codes, which give the rows a k-th distance;
- *close pairs*: those that their lower bounds do not rule out. If they are few they alone are computed, else the whole tile.

Neither changes a result: every pair that could matter is computed exactly, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch

from dataprops.distances import kernel
from dataprops.distances.product import choose_route, code_product, product
from dataprops.distances.seeds import choose_seeds
from dataprops.distances.sketch import Limits, Sketch, candidates, limits, pair_products, take_rows
from dataprops.distances.state import NearPairs, PassSpec, State
from dataprops.distances.tiles import Tile, halves

# Of a tile's pairs, by the product's route: one by one, more would cost as much as the product of all
CHOSEN_SHARE = {"int8": 1 / 16, "float32": 1 / 3}
SEED_COLUMNS = 2_048  # of a tile: more would cost more than their tighter bounds spare
NOTHING_SKIPPED = np.empty((0, 0), np.uint8)


class Block(NamedTuple):
    """Rows in memory: int8 [n, D] tensor and, for each row, squared norm, label, global number, primary flag.

    With `later` the pixels are not in memory (`shifted` has no rows): it reads those of some positions, int8 [., D].
    """

    shifted: torch.Tensor
    norm: np.ndarray
    y: np.ndarray
    number: np.ndarray
    primary: np.ndarray
    later: Callable[[np.ndarray], torch.Tensor] | None = None

    @property
    def n(self) -> int:
        return len(self.norm)


def shift_into(pixels: np.ndarray, shifted: np.ndarray, norm: np.ndarray) -> None:
    """Shift uint8 pixels [n, D] to int8, with the squared norms of the shifted rows."""
    kernel.shift_rows(pixels, shifted, norm)


class Side(NamedTuple):
    """One side of a unit: its rows, what they find, and, where sketches are used, these and the order of the rows.

    With an `order`, position r of the side is row order[r] of the block: labels, numbers, states and sketches are in the
    order already, the pixels stay where they are.
    """

    block: Block
    state: State | None
    sketch: Sketch | None = None
    order: np.ndarray | None = None

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


class Chosen(NamedTuple):
    """Pairs of a tile, int32 rows and columns counted from its corner."""

    rows: np.ndarray
    columns: np.ndarray


Fold = Callable[[NearPairs], None]


def look_at(a: Side, b: Side, tile: Tile, spec: PassSpec, odds: Odds) -> Iterator[Fold]:
    """Compute what a tile needs, without touching any state; yields what folds it in, to be called under the locks."""
    skip = NOTHING_SKIPPED
    if a.sketch is not None and b.sketch is not None and odds.good:
        codes = code_product(a.sketch.codes[tile.rows], b.sketch.codes[tile.columns], choose_route("cpu")).numpy()
        if tile.triangle:
            _check(codes, a.sketch.norm[tile.rows])
            skip = np.tri(len(codes), dtype=np.uint8)
        needy = needy_rows(a, b, tile, spec)
        if len(needy):
            skip = skip if skip.size else np.zeros(codes.shape, np.uint8)
            yield _fold_of(seeds(codes, needy, skip, a, b, tile, spec), a, b, tile, spec)
        chosen = close_pairs(codes, skip, a, b, tile, spec)
        if chosen is not None:
            odds.paid += 1
            yield _fold_of(chosen, a, b, tile, spec)
            return
        odds.lost += 1
    route = choose_route("cpu")
    x = a.pixels(tile.rows)
    y = x if tile.triangle else b.pixels(tile.columns)
    for part in halves(tile.rows.start, tile.rows.stop) if tile.triangle else [tile]:
        rows = slice(part.rows.start - tile.rows.start, part.rows.stop - tile.rows.start)
        columns = slice(part.columns.start - tile.columns.start, part.columns.stop - tile.columns.start)
        g = product(x[rows], y[columns], route).numpy()
        if part.triangle:
            _check(g, a.block.norm[part.rows])
        if skip.size:  # folded already: as identical images are, these are passed over
            g[skip[rows, columns] != 0] = np.iinfo(g.dtype).max // (1 if g.dtype == np.int32 else 4)
        yield partial(fold_tile, g, a, b, part, spec)


def _check(g: np.ndarray, norm: np.ndarray) -> None:
    """Products of rows with themselves are their squared norms."""
    if not np.array_equal(g.diagonal(), norm):
        route = choose_route("cpu")
        raise RuntimeError(f"the {route} product gave wrong integers: its results cannot be used on this machine")


def _fold_of(chosen: Chosen, a: Side, b: Side, tile: Tile, spec: PassSpec) -> Fold:
    products = np.empty(len(chosen.rows), np.int64)
    pixels_a, rows = _pixels_at(a.block, a.positions(tile.rows)[chosen.rows])
    pixels_b, columns = _pixels_at(b.block, b.positions(tile.columns)[chosen.columns])
    pair_products(pixels_a, pixels_b, rows, columns, products)
    return partial(fold_chosen, *chosen, products, a, b, tile, spec)


def _pixels_at(block: Block, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows that hold those at these positions of a block, and where they stand in them."""
    if block.later is None:
        return block.shifted.numpy(), positions
    needed, place = np.unique(positions, return_inverse=True)
    return block.later(needed).numpy(), place


def needy_rows(a: Side, b: Side, tile: Tile, spec: PassSpec) -> np.ndarray:
    """Rows of a tile that have nothing to rule pairs out by yet, int64 positions in it."""
    assert a.state is not None
    part = a.state.part(tile.rows)
    y = a.block.y[tile.rows]
    both = np.concatenate([y, b.block.y[tile.columns]])
    known = both[~np.isnan(both)]
    needy = np.zeros(len(y), bool)
    if len(known) and known.min() < known.max():
        needy = (part.sharp == 0.0) & ~np.isnan(y)
    if spec.k:
        needy |= np.isinf(part.knn_d2[:, 0])
    return np.nonzero(needy)[0]


def seeds(
    codes: np.ndarray, needy: np.ndarray, taken: np.ndarray, a: Side, b: Side, tile: Tile, spec: PassSpec
) -> Chosen:
    """For the needy rows, the pairs that are best by their codes; these are marked in `taken`, uint8 [m, n]."""
    assert a.sketch is not None and b.sketch is not None
    rows = tile.rows
    columns = slice(tile.columns.start, min(tile.columns.stop, tile.columns.start + SEED_COLUMNS))
    buffer = np.empty((2, len(needy) * (spec.k + 1)), np.int32)
    found = choose_seeds(
        codes,
        needy,
        a.sketch.norm[rows],
        b.sketch.norm[columns],
        a.block.y[rows],
        b.block.y[columns],
        b.block.primary[columns],
        spec.k,
        spec.sharp,
        spec.numeric,
        tile.triangle,
        taken,
        buffer[0],
        buffer[1],
    )
    return Chosen(buffer[0, :found], buffer[1, :found])


def close_pairs(codes: np.ndarray, skip: np.ndarray, a: Side, b: Side, tile: Tile, spec: PassSpec) -> Chosen | None:
    """Pairs of a tile that their bounds do not rule out and that are not to be skipped; None if they are too many.

    States are read while other threads may tighten them: a bound that is out of date lets more pairs through, none less.
    """
    buffer = np.empty((2, 8 + int(codes.size * CHOSEN_SHARE[choose_route("cpu")])), np.int32)
    if spec.numeric:  # float32 keeps labels to one part in 2^23
        least, most = max(_largest(a.block.y), _largest(b.block.y)) * 2.0**-22, np.inf
    else:
        least, most = 0.0, 1.0
    found = candidates(
        codes,
        _limits(a, tile.rows, spec),
        _limits(b, tile.columns, spec),
        np.float32(most),
        np.float32(least),
        skip,
        buffer[0],
        buffer[1],
    )
    return None if found < 0 else Chosen(buffer[0, :found], buffer[1, :found])


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
    per_row = ((x[rows], y[columns]) for x, y in zip(a.block[1:5], b.block[1:5], strict=True))
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
