"""Intervals by drawing whole groups with replacement."""

from __future__ import annotations

import numpy as np

DRAWS = 1000
LEVEL = 0.95


def bootstrap_weights(leak_groups: int, seed: int) -> np.ndarray:
    """How often each leak group counts in each draw, int64 [DRAWS, leak_groups]."""
    rng = np.random.default_rng([seed, 17])
    # counted: an eighth of `multinomial`'s time
    drawn = rng.integers(0, leak_groups, (DRAWS, leak_groups), dtype=np.int32)
    return np.stack([np.bincount(draw, minlength=leak_groups) for draw in drawn])


def mean_interval(values: np.ndarray, leak_group: np.ndarray, weights: np.ndarray) -> tuple[float, float, float]:
    """(mean over images, low, high) of values float [n]; leak groups are drawn, the mean is over the images drawn."""
    sums = np.bincount(leak_group, values, minlength=weights.shape[1])
    count = np.bincount(leak_group, minlength=weights.shape[1])
    drawn = (weights @ sums) / np.maximum(weights @ count, 1)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(values.mean()), float(low), float(high)


def held_out_interval(
    values: np.ndarray, leak_group: np.ndarray, weights: np.ndarray, ratio: float
) -> tuple[float, float, float]:
    """As `mean_interval`, of losses float [n], none negative, of images that were held out; wider by `spread.training_ratio`."""
    value, low, high = mean_interval(values, leak_group, weights)
    return value, max(0.0, value - ratio * (value - low)), value + ratio * (high - value)


def zero_events_high(leak_groups: int) -> float:
    """Upper end of a share of which no event was seen in so many leak groups: 1 - 0.025^(1/n), Clopper and Pearson's."""
    return 1 - ((1 - LEVEL) / 2) ** (1 / max(1, leak_groups))
