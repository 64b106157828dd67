"""Cluster bootstrap: whole datasets are resampled, never rows, since the rows of one dataset are not independent.

A statistic is a function from weights int [draws, datasets] (how often each dataset counts) to float [draws, values]. A
resample is a row of weights, leaving a dataset out subtracts 1 from a weight, and thousands of them are one call.

`interval` is the bootstrap-t [1]_ over datasets: the deviation of each resample from the estimate, studentised by its own
jackknife standard error over datasets. With too few datasets for that, it is Student's t times the jackknife standard error;
with fewer still there is no interval.

Simulated coverage of 95 % intervals, 1,000 tables each, dataset levels varying: one slope 94 % with 4 datasets (jackknife), 93
to 96 % with 5 to 15; the worse of two slopes 94 % with 5 and 6 (jackknife), 93 to 95 % with 7 to 11. Percentile intervals
cover 67 to 92 %.

`share` has an interval of its own, since a bootstrap of few datasets that are all or nothing has no spread to tell. Simulated
coverage of 95 % (400 tables each, shares of 4 to 96 %, correlations within a dataset of 0.05 to 0.9, 6 to 60 rows of each
dataset): 93 to 99 % on average of each number of datasets from 2 to 20, the worst of 280 cases 81 % (a bootstrap-t covered 54
to 100 %, and 47 % of tables had no interval).

References
----------
.. [1] B. Efron, R. J. Tibshirani, An Introduction to the Bootstrap (1993), chapter 12.
.. [2] E. L. Korn, B. I. Graubard, Confidence intervals for proportions with small expected number of positive counts estimated
   from survey data, Survey Methodology 24 (1998), 193-201.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

LEVEL = 0.95
DRAWS = 2000
CELLS = 2**22  # weights in memory at once
FLAT = 1e-9  # a standard error below this fraction of the estimate is rounding error

Statistic = Callable[[np.ndarray], np.ndarray]


class Intervals(NamedTuple):
    """Values of a statistic with their intervals.

    Attributes
    ----------
    value, low, high : float [values]
        NaN where undefined.
    method : str
        How the interval was computed, or why there is none.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    method: str


def resamples(datasets: int, draws: int = DRAWS, seed: int = 0, distinct: int = 3) -> np.ndarray:
    """Multiplicities int [at most draws, datasets] of datasets drawn with replacement.

    Resamples with fewer than `distinct` different datasets, which do not determine a line and its error, are dropped.
    """
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(datasets, np.full(datasets, 1 / datasets), size=draws)
    return counts[(counts > 0).sum(axis=1) >= distinct]


def jackknife_error(statistic: Statistic, weights: np.ndarray) -> np.ndarray:
    """Standard errors float [draws, values], leaving out one of the drawn datasets at a time."""
    draws, datasets = weights.shape
    at_once = max(1, CELLS // datasets**2)
    parts = [_jackknife_part(statistic, weights[i : i + at_once]) for i in range(0, draws, at_once)]
    return np.concatenate(parts)


def _jackknife_part(statistic: Statistic, weights: np.ndarray) -> np.ndarray:
    draws, datasets = weights.shape
    less = np.maximum(weights[:, None, :] - np.eye(datasets, dtype=weights.dtype), 0)
    values = statistic(less.reshape(-1, datasets)).reshape(draws, datasets, -1)
    n = weights.sum(axis=1)[:, None]
    fraction = (weights / n)[:, :, None]  # a dataset that was not drawn cannot be left out
    values = np.where(fraction > 0, values, 0.0)
    mean = (fraction * values).sum(axis=1)
    return np.sqrt((n - 1) * (fraction * (values - mean[:, None, :]) ** 2).sum(axis=1))


def interval(
    statistic: Statistic,
    datasets: int,
    slopes: int = 1,
    *,
    correlation: bool = False,
    draws: int = DRAWS,
    seed: int = 0,
) -> Intervals:
    """A statistic of all datasets and its interval.

    Parameters
    ----------
    statistic : callable
        int [draws, datasets] -> float [draws, values].
    datasets : int
    slopes : int
        Number of slopes estimated between datasets; each requires one more dataset.
    correlation : bool
        Compute on Fisher's z scale (atanh).
    """
    from scipy.special import stdtrit

    def scaled(weights: np.ndarray) -> np.ndarray:
        values = statistic(weights)
        return np.arctanh(np.clip(values, -1 + 1e-12, 1 - 1e-12)) if correlation else values

    back = np.tanh if correlation else np.asarray
    everything = np.ones((1, datasets), np.int64)
    value = scaled(everything)[0]
    nothing = np.full(len(value), np.nan)
    slopes = max(1, slopes)
    if datasets < slopes + 3:
        count = "1 dataset" if datasets == 1 else f"{datasets} datasets"
        return Intervals(back(value), nothing, nothing, f"no interval: {count}, it needs {slopes + 3}")
    error = jackknife_error(scaled, everything)[0]
    error = np.where(error > FLAT * np.abs(value), error, np.nan)
    tail = (1 + LEVEL) / 2
    if datasets < 2 * slopes + 3:
        half = float(stdtrit(datasets - 1, tail)) * error
        method = f"jackknife over {datasets} datasets, Student's t (too few for a bootstrap)"
        return Intervals(back(value), back(value - half), back(value + half), method)
    weights = resamples(datasets, draws, seed, slopes + 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (scaled(weights) - value) / jackknife_error(scaled, weights)
    low, high = np.full(len(value), np.nan), np.full(len(value), np.nan)
    for i in range(len(value)):
        known = t[np.isfinite(t[:, i]), i]
        if len(known) >= draws / 2:
            upper, lower = np.quantile(known, [tail, 1 - tail])
            low[i], high[i] = value[i] - upper * error[i], value[i] - lower * error[i]
    return Intervals(back(value), back(low), back(high), f"bootstrap-t, {draws:,} draws of {datasets} whole datasets")


def mean_of(values: np.ndarray) -> Statistic:
    """Weighted mean of float [datasets] as a statistic."""
    return lambda weights: (weights @ values / weights.sum(axis=1))[:, None]


def share(hits: np.ndarray, rows: np.ndarray) -> Intervals:
    """Hits over rows, both float [datasets] with no empty dataset, and the interval of Korn and Graubard [2]_.

    It is Clopper and Pearson's for as many independent rows as have the same variance as these, which are dependent within a
    dataset. The variance between datasets is linearised, and the number of rows reduced by the squared ratio of Student's t with
    rows - 1 and datasets - 1 degrees of freedom. Where all rows or none are hits, datasets count as single rows.
    """
    from scipy.special import betaincinv, stdtrit

    datasets, n = len(rows), float(rows.sum())
    value = hits.sum() / n
    if datasets < 2:
        missing = np.array([np.nan])
        return Intervals(np.array([value]), missing, missing, "no interval: 1 dataset, it needs 2")
    tail, independent = (1 + LEVEL) / 2, float(datasets)
    if 0 < value < 1:
        variance = datasets / (datasets - 1) * float(((hits - value * rows) ** 2).sum()) / n**2
        t = float(stdtrit(n - 1, tail) / stdtrit(datasets - 1, tail))
        ratio = value * (1 - value) * t**2
        independent = ratio / variance if ratio < variance * n else n
    x = value * independent
    low = float(betaincinv(x, independent - x + 1, 1 - tail)) if value > 0 else 0.0
    high = float(betaincinv(x + 1, independent - x, tail)) if value < 1 else 1.0
    method = f"Korn and Graubard, rows of {datasets} datasets as clusters"
    return Intervals(np.array([value]), np.array([low]), np.array([high]), method)


def pearson(x: np.ndarray, y: np.ndarray) -> Statistic:
    """Pearson's r of float [datasets] and [datasets] as a statistic."""
    x, y = _standard(x), _standard(y)

    def statistic(weights: np.ndarray) -> np.ndarray:
        return _weighted_r(weights, np.broadcast_to(x, weights.shape), np.broadcast_to(y, weights.shape))

    return statistic


def spearman(x: np.ndarray, y: np.ndarray) -> Statistic:
    """Spearman's rho (Pearson's r of the mid-ranks) of float [datasets] and [datasets] as a statistic."""
    # per pair: 1 if below, 1/2 if tied; the weighted sum is the rank in the resample up to a constant
    below = [(v[:, None] < v) + 0.5 * (v[:, None] == v) for v in (np.asarray(x), np.asarray(y))]

    def statistic(weights: np.ndarray) -> np.ndarray:
        return _weighted_r(weights, *(weights @ b for b in below))

    return statistic


def _standard(values: np.ndarray) -> np.ndarray:
    spread = np.std(values)
    return (values - np.mean(values)) / (spread if spread > 0 else 1.0)


def _weighted_r(weights: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Weighted correlation of each row of x and y; all float [draws, datasets]."""
    n = weights.sum(axis=1, keepdims=True)
    x = x - (weights * x).sum(axis=1, keepdims=True) / n
    y = y - (weights * y).sum(axis=1, keepdims=True) / n
    xx, yy, xy = ((weights * a * b).sum(axis=1) for a, b in ((x, x), (y, y), (x, y)))
    with np.errstate(divide="ignore", invalid="ignore"):
        r = xy / np.sqrt(xx * yy)
    return np.where((xx > 1e-12) & (yy > 1e-12), r, np.nan)[:, None]
