"""How a unit is cut: tiles, each one product, small enough that the epilogue finds it in cache.

Tiles go along diagonals: neighbours in the list rarely share rows, and the diagonal itself - which gives every row a first k-th
distance to prune with - comes first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

EDGE = 1024  # rows of a tile: int32 4 MB; larger does not speed the product up, smaller does not speed the epilogue up
SMALLEST_EDGE = 256  # diagonal tiles are halved down to this: half of a diagonal tile is wasted work


class Tile(NamedTuple):
    """A rectangle of pairs; `triangle`: on the diagonal, only pairs with column > row."""

    rows: slice
    columns: slice
    triangle: bool

    @property
    def pairs(self) -> int:
        m, n = self.rows.stop - self.rows.start, self.columns.stop - self.columns.start
        return m * (m - 1) // 2 if self.triangle else m * n


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


def rectangle_tiles(m: int, n: int, edge: int = EDGE, columns_edge: int | None = None) -> Iterator[Tile]:
    """Tiles that cover m x n pairs, along wrapped diagonals."""
    across = edge if columns_edge is None else columns_edge
    rows = [slice(start, min(m, start + edge)) for start in range(0, m, edge)]
    columns = [slice(start, min(n, start + across)) for start in range(0, n, across)]
    for offset in range(len(columns)):
        for i, cut in enumerate(rows):
            yield Tile(cut, columns[(i + offset) % len(columns)], False)
