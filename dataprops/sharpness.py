"""Summaries of label sharpness, K_j = max_k |y_j - y_k| / ||x_j - x_k|| for each image, and the paper's samples of M images."""

from __future__ import annotations

import numpy as np

QUANTILES = {"q50": 0.5, "q95": 0.95, "q99": 0.99}


def sharpness_summary(per_image: np.ndarray) -> dict[str, float]:
    """Quantiles and maximum of the K_j, linearly interpolated; NaN entries (unlabelled) do not count; NaN if all are."""
    values = per_image[~np.isnan(per_image)]
    if not len(values):
        return dict.fromkeys([*QUANTILES, "max"], float("nan"))
    return {name: float(np.quantile(values, q)) for name, q in QUANTILES.items()} | {"max": float(values.max())}


def draw_samples(n: int, m: int, draws: int, seed: int) -> list[np.ndarray]:
    """Samples of min(m, n) of n images without replacement, ascending; each draw has a seed of its own."""
    return [np.sort(np.random.default_rng([seed, draw]).choice(n, min(m, n), replace=False)) for draw in range(draws)]
