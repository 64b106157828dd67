"""Thresholds of agreement and distance from which two images are copies, estimated from pairs that are not."""

from __future__ import annotations

import numpy as np
import pandas as pd

LEAST_DETAIL, MOST_THRESHOLD = 0.65, 0.88
TAIL_SCALE = 0.1  # default scale of the agreement of non-copies, if none was observed
WORTH_CONFIRMING = 0.4  # minimum agreement on thumbnails
FALSE_FRACTION = 0.01  # fraction of images that the rule for exact neighbours may report by chance
NEAR_RATIO = 0.5  # maximum distance relative to that of the k-th neighbour
# maximum fractions of farther neighbours, and of pairs drawn at random, that agree by the strictest threshold because they are copies;
# if both are exceeded, the images are of one kind (one product, one camera): beyond `UPPER` of all pairs begins the tail to exceed
FAR_ALIKE, ALIKE, UPPER = 0.1, 0.03, 0.9


def near_ratio(images: pd.DataFrame, k: int, fraction: float = FALSE_FRACTION) -> float:
    """Ratio to the k-th neighbour's distance below which a close neighbour is unlikely by chance.

    In a uniformly filled space of dimension d, one of k - 1 neighbours is within a fraction r of the k-th distance with probability of
    about (k - 1) r^d; the returned r makes this `fraction`.
    """
    local = images["local_dimension"].to_numpy(float)
    local = local[np.isfinite(local) & (local > 0)]
    if not len(local):
        return 0.0
    dimension = 1 / np.mean(1 / local)
    return float(min(NEAR_RATIO, (fraction / max(k - 1, 1)) ** (1 / dimension)))


def false_fraction(images: int) -> float:
    """Fraction of this many images that distance alone may report by chance: a single one, where no detail confirms it."""
    return min(FALSE_FRACTION, 1 / images)


def detail_threshold(null: np.ndarray, looked_at: int, one_kind: bool = False) -> float:
    """Agreement that half a non-copy among this many candidates is expected to reach, within bounds.

    Images of one kind agree nearly as copies do: their tail is that of the logarithm of what does not agree, without an upper bound.
    """
    passing, start, scale = _upper_tail(null) if one_kind else _tail(null)
    above = scale * np.log(max(passing * looked_at / 0.5, 1.0))
    if one_kind:
        return float(max(1 - np.exp(-start - above), MOST_THRESHOLD))
    return float(np.clip(start + above, LEAST_DETAIL, MOST_THRESHOLD))


def _tail(null: np.ndarray) -> tuple[float, float, float]:
    """Fraction of non-copies that reach `WORTH_CONFIRMING`, this, and the scale of the exponential tail of their agreement.

    One pseudo-observation is added, `TAIL_SCALE` beyond `WORTH_CONFIRMING`, as there may be none among few pairs. Farther neighbours
    that agree by the strictest threshold are copies themselves.
    """
    null = null[null < MOST_THRESHOLD]
    excess = null[null >= WORTH_CONFIRMING] - WORTH_CONFIRMING
    passing = (len(excess) + 1) / (len(null) + 1)
    return passing, WORTH_CONFIRMING, (float(excess.sum()) + TAIL_SCALE) / (len(excess) + 1)


def _upper_tail(null: np.ndarray) -> tuple[float, float, float]:
    """The same for images of one kind, beyond `UPPER` of all pairs and in logarithms (`_closeness`)."""
    close = _closeness(null)
    start = float(np.quantile(close, UPPER))
    excess = close[close > start] - start
    return 1 - UPPER, start, (float(excess.sum()) + TAIL_SCALE) / (len(excess) + 1)


def _closeness(detail: np.ndarray | float) -> np.ndarray:
    return -np.log(np.maximum(1 - np.asarray(detail), 1e-6))


def ordinary_detail(null: np.ndarray, one_kind: bool = False) -> float:
    """Agreement that only `FALSE_FRACTION` of the non-copies exceed; a minimum for unaligned near pairs."""
    null = null if one_kind else null[null < MOST_THRESHOLD]
    return float(np.quantile(null, 1 - FALSE_FRACTION)) if len(null) else 0.0


def chance(null: np.ndarray, threshold: float, one_kind: bool = False) -> float:
    """Probability that a pair of different pictures reaches the threshold, from the tail of non-copies."""
    passing, start, scale = _upper_tail(null) if one_kind else _tail(null)
    reached = float(_closeness(threshold)) if one_kind else threshold
    return float(passing * np.exp(-max(reached - start, 0.0) / scale))
