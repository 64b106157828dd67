"""Resize images by products with two small matrices, in a third of the time of pooling and with the same cells.

In NumPy, so that the helper process need not import torch for it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

AT_ONCE = 4  # images: more leave the cache between the two products


@lru_cache(maxsize=16)
def cell_means(size: int, cells: int) -> np.ndarray:
    """Averaging matrix from `size` pixels to `cells` cells, float32 [cells, size]; cells overlap if `cells` does not divide `size`.

    >>> cell_means(3, 2).tolist()
    [[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]
    """
    at, cell = np.arange(size), np.arange(cells)[:, None]
    first, end = cell * size // cells, -(-(cell + 1) * size // cells)
    return _kept(((at >= first) & (at < end)) / (end - first))


@lru_cache(maxsize=16)
def between(size: int, points: int) -> np.ndarray:
    """Linear interpolation of a line of `size` pixels at the centres of `points` cells, float32 [points, size].

    >>> between(2, 4).tolist()
    [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    at = np.clip((np.arange(points) + 0.5) * size / points - 0.5, 0, size - 1)
    return _kept(np.maximum(1 - np.abs(at[:, None] - np.arange(size)), 0))


def _kept(matrix: np.ndarray) -> np.ndarray:
    """As float32 that nobody writes to, for a cache."""
    out = matrix.astype(np.float32)
    out.setflags(write=False)
    return out


def resized(images: np.ndarray, side: int) -> np.ndarray:
    """uint8 [n, h, w, c] -> float32 [n, c, side, side] in grey levels: area averaging, or bilinear for smaller images."""
    n, height, width, channels = images.shape
    out = np.empty((n, channels, side, side), np.float32)
    enlarged = height <= side and width <= side
    down, across = (
        (between(height, side), between(width, side))
        if enlarged
        else (cell_means(height, side), cell_means(width, side))
    )
    levels = np.empty(
        (min(n, AT_ONCE), height, width, channels), np.float32
    )  # once: new memory takes as long as the products
    for start in range(0, n, AT_ONCE):
        x = levels[: n - start]
        x[:] = images[start : start + AT_ONCE]
        if (height, width) != (side, side):
            # rows first, before channels are moved
            x = (down @ x.reshape(len(x), height, width * channels)).reshape(len(x), side, width, channels)
            planes = np.ascontiguousarray(x.transpose(0, 3, 1, 2)).reshape(
                -1, width
            )  # others than contiguous are slow to multiply
            out[start : start + len(x)] = (planes @ across.T).reshape(len(x), channels, side, side)
        else:
            out[start : start + len(x)] = x.transpose(0, 3, 1, 2)
    return out
