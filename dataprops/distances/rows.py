"""Rows of a pass, read by number from memory-mapped shards, an array, or a subset of either."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

import numpy as np
import torch

from dataprops.distances.dots import aligned
from dataprops.distances.folds import Block, shift_into
from dataprops.distances.plan import READ_BYTES
from dataprops.distances.state import run_of


class RowReader(Protocol):
    """Reads rows by number: uint8 [len(rows), D]. Must be picklable (it is sent to workers) and thread-safe."""

    def __call__(self, rows: np.ndarray, /) -> np.ndarray: ...


class ArrayReader(NamedTuple):
    """A `RowReader` over an array."""

    pixels: np.ndarray

    def __call__(self, rows: np.ndarray, /) -> np.ndarray:
        return self.pixels[run_of(rows)]


class Rows(NamedTuple):
    """The rows of a pass.

    Attributes
    ----------
    read : RowReader
    features : int
        D.
    y : float64 [n]
        Labels (class codes or numbers), NaN = unlabelled.
    primary : bool [n]
        One row of each distinct image is primary; only primary rows appear in neighbour lists.
    """

    read: RowReader
    features: int
    y: np.ndarray
    primary: np.ndarray

    @property
    def n(self) -> int:
        return len(self.y)


def array_rows(pixels: np.ndarray, y: np.ndarray | None = None, primary: np.ndarray | None = None) -> Rows:
    """Rows of an array in memory, uint8 [n, D]."""
    n = len(pixels)
    return Rows(
        ArrayReader(pixels),
        pixels.shape[1],
        np.full(n, np.nan) if y is None else np.asarray(y, np.float64),
        np.ones(n, bool) if primary is None else primary,
    )


class SubsetReader(NamedTuple):
    """A `RowReader` over some rows of another."""

    read: RowReader
    chosen: np.ndarray

    def __call__(self, rows: np.ndarray, /) -> np.ndarray:
        return self.read(self.chosen[rows])


def subset(rows: Rows, chosen: np.ndarray) -> Rows:
    """A subset renumbered 0..len(chosen)-1, with all rows primary."""
    return Rows(SubsetReader(rows.read, chosen), rows.features, rows.y[chosen], np.ones(len(chosen), bool))


def load_block(rows: Rows, index: np.ndarray, threads: int = 1) -> Block:
    """Read and shift the rows `index`."""
    index = np.asarray(index, np.int32)
    shifted, norm = _read_shifted(rows, index, threads)
    return Block(shifted, norm, rows.y[index], index, rows.primary[index])


def unread_block(rows: Rows, index: np.ndarray, norm: np.ndarray) -> Block:
    """The rows `index` with known squared norms, whose pixels are read on demand."""

    def later(positions: np.ndarray) -> torch.Tensor:
        return _read_shifted(rows, index[positions], threads=1)[0]

    nothing = torch.empty((0, rows.features), dtype=torch.int8)
    return Block(nothing, norm, rows.y[index], index, rows.primary[index], later)


def raw_block(rows: Rows, index: np.ndarray) -> Block:
    """The rows `index` unread, for a device that reads and shifts them itself."""

    def raw(positions: np.ndarray) -> np.ndarray:
        return rows.read(index[positions])

    index = np.asarray(index, np.int32)
    nothing = torch.empty((0, rows.features), dtype=torch.int8)
    return Block(nothing, np.empty(0), rows.y[index], index, rows.primary[index], raw=raw)


def _read_shifted(rows: Rows, index: np.ndarray, threads: int) -> tuple[torch.Tensor, np.ndarray]:
    """Shifted rows and their squared norms, read in chunks so that the pixels are never in memory twice."""
    shifted = aligned(len(index), rows.features)
    norm = np.empty(len(index))

    def load(start: int) -> None:
        part = slice(start, start + step)
        shift_into(rows.read(index[part]), shifted[part], norm[part])

    step = max(1, min(READ_BYTES // max(1, rows.features), -(-len(index) // threads)))
    starts = range(0, len(index), step)
    if threads > 1 and len(starts) > 1:
        with ThreadPoolExecutor(threads, "load") as pool:
            list(pool.map(load, starts))
    else:
        for start in starts:
            load(start)
    return torch.from_numpy(shifted), norm
