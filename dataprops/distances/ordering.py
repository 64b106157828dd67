"""Order rows so that similar ones are adjacent: neighbours found in the first tiles then prune the others."""

from __future__ import annotations

import math

import numpy as np

from dataprops.distances.sketch import Sketch

SORTED_COORDINATES = 32  # enough to separate similar from dissimilar rows, since the rotation mixes all coordinates


def run_length(n: int, most: int) -> int:
    """Length, at most `most`, of the runs that result from repeatedly halving n rows."""
    return -(-n // 2 ** max(0, math.ceil(math.log2(n / most))))


def alike_together(sketch: Sketch, run: int) -> np.ndarray:
    """Permutation int64 [n] that puts similar rows together, by recursive bisection along the widest direction down to `run` rows."""
    points = sketch.codes[:, :SORTED_COORDINATES].numpy().astype(np.float32)
    order = np.arange(len(points))
    waiting = [(0, len(points))]
    while waiting:
        start, stop = waiting.pop()
        if stop - start <= run:
            continue
        rows = points[order[start:stop]]
        rows -= rows.mean(axis=0)
        direction = rows[np.argmax((rows * rows).sum(axis=1))]
        for _ in range(2):  # power iterations towards the first principal axis
            direction = (rows @ direction) @ rows
            direction /= max(float(np.linalg.norm(direction)), 1e-30)
        middle = (stop - start) // 2
        order[start:stop] = order[start:stop][np.argpartition(rows @ direction, middle)]
        waiting += [(start, start + middle), (start + middle, stop)]
    return order
