"""Summaries of label sharpness, K_j = max_k |y_j - y_k| / ||x_j - x_k|| per image, and the paper's samples of M images."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

QUANTILES = {"q50": 0.5, "q95": 0.95, "q99": 0.99}
CONFIDENCE = 0.95


class IntervalEstimate(NamedTuple):
    """A value with its 95 % interval; NaN ends if it has none, as for exact values."""

    value: float
    low: float = float("nan")
    high: float = float("nan")


def sharpness_summary(per_image: np.ndarray, *, sampled: bool = False) -> dict[str, IntervalEstimate]:
    """Linearly interpolated quantiles and maximum of the K_j, ignoring NaN (unlabelled); NaN if all are.

    Parameters
    ----------
    sampled : bool
        The values are of a random sample of the images: quantiles then have distribution-free intervals (by order statistics), and
        the maximum is a lower bound.
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
    """Distribution-free 95 % interval of a quantile from an ascending random sample; an end that the sample cannot bound is NaN.

    The number of values below the quantile is binomial(n, q); the ends are order statistics (David & Nagaraja 2003, section 7.1).
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


def identical_pairs(content: np.ndarray, y: np.ndarray) -> int:
    """Number of pairs of identical images with different labels, which are excluded from the sharpness (distance 0).

    Parameters
    ----------
    content : int [n]
        Content id of each image.
    y : float [n]
        Label; NaN: none.

    >>> identical_pairs(np.array([4, 4, 4, 7, 7]), np.array([0.0, 1.0, 1.0, 0.0, np.nan]))
    2
    """
    labelled = ~np.isnan(y)
    pairs = np.stack([content[labelled].astype(float), y[labelled]])
    kinds, sizes = np.unique(pairs, axis=1, return_counts=True)
    _, at = np.unique(kinds[0], return_inverse=True)
    whole = np.bincount(at, sizes)
    return (int((whole**2).sum()) - int((sizes**2).sum())) // 2


def reason_not_measured(y: np.ndarray) -> str:
    """Why the label sharpness of a set is undefined, if no two different images have different labels."""
    different = len(np.unique(y[~np.isnan(y)]))
    if different < 2:
        return "all labels are the same" if different else "no image has a label"
    return "wherever labels differ, the pictures are identical: it is infinite between them, and they are listed as conflicts"


def left_out_words(pairs: int, blank: int = 0) -> str:
    """A sentence on the identical pairs that were excluded from the sharpness; "" if there are none.

    `blank`: number of those that are blank images, which are not label conflicts.

    >>> left_out_words(1)
    '1 pair of identical pictures with different labels is left out: with it the sharpness would be infinite'
    >>> left_out_words(3, 2)
    '3 pairs of identical pictures with different labels (2 of blank ones) are left out: with them the sharpness would be infinite'
    """
    if not pairs:
        return ""
    what, them = ("pair", "it") if pairs == 1 else ("pairs", "them")
    among = f" ({blank:,} of blank ones)" if blank else ""
    return (
        f"{pairs:,} {what} of identical pictures with different labels{among} {'is' if pairs == 1 else 'are'} left out: with"
        f" {them} the sharpness would be infinite"
    )


def draw_samples(n: int, m: int, draws: int, seed: int) -> list[np.ndarray]:
    """Samples of min(m, n) of n images without replacement, ascending; each draw has its own seed."""
    return [np.sort(np.random.default_rng([seed, draw]).choice(n, min(m, n), replace=False)) for draw in range(draws)]
