"""An order of the rows in which similar ones lie together: what the first tiles find prunes the others."""

from __future__ import annotations

import math

import numpy as np

from dataprops.distances.sketch import Sketch

SORTED_COORDINATES = 32  # random turns of all: enough to tell like from unlike


def run_length(n: int, most: int) -> int:
    """Length of the runs that n rows are halved into, at most `most`."""
    return -(-n // 2 ** max(0, math.ceil(math.log2(n / most))))


def alike_together(sketch: Sketch, run: int) -> np.ndarray:
    """An order of the rows in which similar ones lie together: halved along their widest direction down to runs of this length.

    Neighbours then meet in the first tiles, and what they found prunes the others. int64 [n].
    """
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
        for _ in range(2):  # steps of the power method: about the first principal axis
            direction = (rows @ direction) @ rows
            direction /= max(float(np.linalg.norm(direction)), 1e-30)
        middle = (stop - start) // 2
        order[start:stop] = order[start:stop][np.argpartition(rows @ direction, middle)]
        waiting += [(start, start + middle), (start + middle, stop)]
    return order
