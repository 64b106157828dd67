"""Sketches of all rows of a pass: one basis, and codes computed as blocks are read.

The basis is shared by all jobs on all workers and by later passes over the changed set, so that known sketches are reused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from dataprops.distances.basis_choice import choose_basis, sampled_rows, width
from dataprops.distances.folds import Block
from dataprops.distances.sketch import Basis, Sketch, make_sketch
from dataprops.distances.state import run_of

GROWTH = 4.0  # growth of the set beyond which a new basis is chosen


class Sketches(NamedTuple):
    """Sketches of n rows. Arrays are updated in place; if they are empty, nothing is kept and each job computes its own.

    Attributes
    ----------
    basis : Basis
    rows : int
        Size of the set for which the basis was chosen.
    codes, norm, error, pixel_norm : int8 [n, p], float32 [n], float32 [n], float64 [n]
        As in `Sketch`.
    done : bool [n]
        Rows whose sketch is known.
    """

    basis: Basis
    rows: int
    codes: np.ndarray
    norm: np.ndarray
    error: np.ndarray
    pixel_norm: np.ndarray
    done: np.ndarray

    def part(self, index: np.ndarray) -> Sketch | None:
        """Sketches of some rows; None unless all are known."""
        some = run_of(index)
        if not len(self.done) or not self.done[some].all():
            return None
        of_rows = (self.norm[some], self.error[some], self.pixel_norm[some])
        return Sketch(torch.from_numpy(self.codes[some]), *of_rows, self.basis.length, self.basis.levels)

    def put(self, index: np.ndarray, sketch: Sketch) -> None:
        """Store the sketches of some rows."""
        if not len(self.done):
            return
        self.codes[index] = sketch.codes.numpy()
        self.norm[index], self.error[index], self.pixel_norm[index] = sketch.norm, sketch.error, sketch.pixel_norm
        self.done[index] = True

    def of(self, block: Block, threads: int) -> Sketch:
        """Sketches of a block's rows, computed if necessary."""
        sketch = self.part(block.number)
        if sketch is None:
            sketch = make_sketch(self.basis, block.shifted, block.norm, threads)
            self.put(block.number, sketch)
        return sketch


def no_sketches(basis: Basis, rows: int, n: int) -> Sketches:
    """Sketches of n rows, none computed yet."""
    codes = np.empty((n, len(basis.axis)), np.int8)
    norm, error = np.empty(n, np.float32), np.empty(n, np.float32)
    return Sketches(basis, rows, codes, norm, error, np.empty(n), np.zeros(n, bool))


def begin_sketches(
    load: Callable[[np.ndarray], Block], n: int, features: int, least: int, keep: bool
) -> Sketches | None:
    """Choose a basis for n rows; None if sketches would not save work.

    Parameters
    ----------
    load : callable
        Reads rows by number.
    least : int
        Number of rows that will be compared with all.
    keep : bool
        Whether to keep the sketches of all rows.
    """
    coordinates = width(features, least)
    if not coordinates:
        return None
    sample, others = (load(index) for index in sampled_rows(n, coordinates))
    basis = choose_basis(sample.shifted, sample.norm, others.shifted, others.norm, coordinates, n)
    return None if basis is None else no_sketches(basis, n, n if keep else 0)


def carry_sketches(known: Sketches, content: np.ndarray, content_row: np.ndarray) -> Sketches | None:
    """Carry sketches over to a changed set; None if it has outgrown the basis.

    Parameters
    ----------
    content : int64
        New number of each old primary row; -1 if it was removed or is not primary.
    content_row : int32 [n]
        The primary row with the same content, after the change.
    """
    n = len(content_row)
    if n > GROWTH * known.rows:
        return None
    carried = no_sketches(known.basis, known.rows, n)
    from_old = np.full(n, -1, np.int64)
    kept = np.nonzero(content >= 0)[0]
    from_old[content[kept]] = kept
    from_old = from_old[content_row]
    there = np.nonzero(from_old >= 0)[0]
    there = there[known.done[from_old[there]]]
    source = from_old[there]
    if len(there):
        carried.codes[there] = np.take(known.codes, source, axis=0)
        carried.norm[there], carried.error[there] = known.norm[source], known.error[source]
        carried.pixel_norm[there], carried.done[there] = known.pixel_norm[source], True
    return carried
