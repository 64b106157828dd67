"""Synthetic images for the benchmarks that resemble natural ones in the properties that affect run time."""

from __future__ import annotations

import numpy as np

RANK = 24


def images(n: int, features: int, seed: int = 0, first: int = 0) -> np.ndarray:
    """uint8 [n, features]: random mixtures of `RANK` random patterns, with noise; `first` continues a set.

    Like natural images, and unlike noise, they have few dimensions: the lower bounds of distances bite.
    """
    patterns = np.random.default_rng(seed).normal(size=(RANK, features)).astype(np.float32)
    rng = np.random.default_rng([seed, first])
    out = np.empty((n, features), np.uint8)
    for start in range(0, n, 1000):
        weights = rng.normal(size=(min(1000, n - start), RANK)).astype(np.float32)
        mixed = 128 + 11 * (weights @ patterns) + rng.normal(0, 6, (len(weights), features)).astype(np.float32)
        out[start : start + 1000] = np.clip(mixed, 0, 255)
    return out
