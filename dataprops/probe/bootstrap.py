"""Cluster bootstrap over leak groups: whole groups are drawn with replacement."""

from __future__ import annotations

import numpy as np

DRAWS = 1000
LEVEL = 0.95


def bootstrap_weights(leak_groups: int, seed: int) -> np.ndarray:
    """How often each leak group counts in each draw, int64 [DRAWS, leak_groups]."""
    rng = np.random.default_rng([seed, 17])
    # counting draws takes an eighth of the time of `multinomial`
    drawn = rng.integers(0, leak_groups, (DRAWS, leak_groups), dtype=np.int32)
    return np.stack([np.bincount(draw, minlength=leak_groups) for draw in drawn])


def mean_interval(values: np.ndarray, leak_group: np.ndarray, weights: np.ndarray) -> tuple[float, float, float]:
    """(mean, low, high) of values float [n]: leak groups are resampled, and the mean is over the images of the resample."""
    sums = np.bincount(leak_group, values, minlength=weights.shape[1])
    count = np.bincount(leak_group, minlength=weights.shape[1])
    drawn = (weights @ sums) / np.maximum(weights @ count, 1)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(values.mean()), float(low), float(high)


def held_out_interval(
    values: np.ndarray, leak_group: np.ndarray, weights: np.ndarray, ratio: float
) -> tuple[float, float, float]:
    """As `mean_interval` for non-negative held-out losses float [n], widened by `spread.training_ratio`."""
    value, low, high = mean_interval(values, leak_group, weights)
    return value, max(0.0, value - ratio * (value - low)), value + ratio * (high - value)


def zero_events_high(leak_groups: int) -> float:
    """Clopper-Pearson upper end of a rate with no event in n leak groups: 1 - 0.025^(1/n)."""
    return 1 - ((1 - LEVEL) / 2) ** (1 / max(1, leak_groups))
