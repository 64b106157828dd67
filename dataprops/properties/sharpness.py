"""Summaries of label sharpness, K_j = max_k |y_j - y_k| / ||x_j - x_k|| for each image, and the paper's samples of M images."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

QUANTILES = {"q50": 0.5, "q95": 0.95, "q99": 0.99}
CONFIDENCE = 0.95


class IntervalEstimate(NamedTuple):
    """A number with its 95 % interval; NaN without one, as for exact numbers."""

    value: float
    low: float = float("nan")
    high: float = float("nan")


def sharpness_summary(per_image: np.ndarray, *, sampled: bool = False) -> dict[str, IntervalEstimate]:
    """Quantiles and maximum of the K_j, linearly interpolated; NaN entries (unlabelled) do not count; NaN if all are.

    Parameters
    ----------
    sampled : bool
        The values are those of a random sample of the images: quantiles get intervals (by order statistics, without
        assumptions about the distribution), and the maximum is only known from below.
    """
    values = np.sort(per_image[~np.isnan(per_image)])
    if not len(values):
        return {name: IntervalEstimate(float("nan")) for name in (*QUANTILES, "max")}
    out = {name: IntervalEstimate(float(np.quantile(values, q))) for name, q in QUANTILES.items()}
    largest = float(values[-1])
    if not sampled:
        return out | {"max": IntervalEstimate(largest)}
    out = {name: IntervalEstimate(out[name].value, *quantile_interval(values, q)) for name, q in QUANTILES.items()}
    return out | {"max": IntervalEstimate(float("nan"), largest)}


def quantile_interval(values: np.ndarray, q: float) -> tuple[float, float]:
    """Distribution-free 95 % interval of a quantile from an ascending random sample; NaN on a side that it does not reach.

    The number of values below the quantile is binomial (n, q); the interval runs between two order statistics (David &
    Nagaraja 2003, section 7.1).
    """
    from scipy.stats import binom

    n = len(values)
    low = int(
        binom.ppf((1 - CONFIDENCE) / 2, n, q)
    )  # the low-th value, counted from 1, is below with the wanted confidence
    high = int(binom.ppf((1 + CONFIDENCE) / 2, n, q)) + 1
    return (
        float(values[low - 1]) if low >= 1 else float("nan"),
        float(values[high - 1]) if high <= n else float("nan"),
    )


def draw_samples(n: int, m: int, draws: int, seed: int) -> list[np.ndarray]:
    """Samples of min(m, n) of n images without replacement, ascending; each draw has a seed of its own."""
    return [np.sort(np.random.default_rng([seed, draw]).choice(n, min(m, n), replace=False)) for draw in range(draws)]
