"""Divide a unit into tiles: one product each, small enough to be in cache for the epilogue.

Tiles are listed along diagonals: consecutive ones rarely share rows, and the main diagonal, which gives every row a first k-th
distance for pruning, comes first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

EDGE = 1024  # rows of a tile, 4 MB in int32; a larger one does not speed up the product, a smaller one not the epilogue
SMALLEST_EDGE = 256  # size down to which diagonal tiles are halved, since half of a diagonal tile is wasted


class Tile(NamedTuple):
    """A rectangle of pairs; `triangle`: on the diagonal, with only pairs of column > row."""

    rows: slice
    columns: slice
    triangle: bool

    @property
    def pairs(self) -> int:
        m, n = self.rows.stop - self.rows.start, self.columns.stop - self.columns.start
        return m * (m - 1) // 2 if self.triangle else m * n


def halves(start: int, stop: int) -> Iterator[Tile]:
    """Cover the upper triangle of rows start..stop by smaller tiles, to waste less of the product."""
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


def rectangle_tiles(m: int, n: int, edge: int = EDGE, columns_edge: int | None = None) -> Iterator[Tile]:
    """Tiles that cover m x n pairs, along wrapped diagonals."""
    across = edge if columns_edge is None else columns_edge
    rows = [slice(start, min(m, start + edge)) for start in range(0, m, edge)]
    columns = [slice(start, min(n, start + across)) for start in range(0, n, across)]
    for offset in range(len(columns)):
        for i, cut in enumerate(rows):
            yield Tile(cut, columns[(i + offset) % len(columns)], False)
