"""Intervals by drawing whole groups with replacement."""

from __future__ import annotations

import numpy as np

DRAWS = 1000
LEVEL = 0.95


def bootstrap_weights(units: int, seed: int, draws: int = DRAWS) -> np.ndarray:
    """How often each unit counts in each draw, int64 [draws, units]."""
    rng = np.random.default_rng([seed, 17])
    return rng.multinomial(units, np.full(units, 1 / units), size=draws)


def mean_interval(values: np.ndarray, unit: np.ndarray, weights: np.ndarray) -> tuple[float, float, float]:
    """(mean over images, low, high) of values float [n]; units are drawn, the mean is over the images drawn."""
    sums = np.bincount(unit, values, minlength=weights.shape[1])
    count = np.bincount(unit, minlength=weights.shape[1])
    drawn = (weights @ sums) / np.maximum(weights @ count, 1)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(values.mean()), float(low), float(high)


def zero_events_high(units: int) -> float:
    """Upper end of a share of which no event was seen in so many units: 1 - 0.025^(1/units), Clopper and Pearson's."""
    return 1 - ((1 - LEVEL) / 2) ** (1 / max(1, units))
