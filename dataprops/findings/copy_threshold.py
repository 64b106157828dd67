"""Thresholds of agreement and distance from which two images are copies, estimated from pairs that are not."""

from __future__ import annotations

import numpy as np
import pandas as pd

LEAST_DETAIL, MOST_THRESHOLD = 0.65, 0.88
TAIL_SCALE = 0.1  # default scale of the agreement of non-copies, if none was observed
WORTH_CONFIRMING = 0.4  # minimum agreement on thumbnails
FALSE_FRACTION = 0.01  # fraction of images that the rule for exact neighbours may report by chance
NEAR_RATIO = 0.5  # maximum distance relative to that of the k-th neighbour
# maximum fraction of farther neighbours that agree by the strictest threshold because they are copies; if it is exceeded, the images
# are of one kind (one product, one scene), and half of a copy's coarse tones must also differ by less than this fraction of their
# spread, as in 849 of 858 copies planted in six sets and in 2 of 379 pairs of different solar cells
FAR_ALIKE, MOST_HALF = 0.1, 0.05


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


def detail_threshold(null: np.ndarray, looked_at: int) -> float:
    """Agreement that half a non-copy among this many candidates is expected to reach, within bounds."""
    passing, start, scale = _tail(null)
    above = scale * np.log(max(passing * looked_at / 0.5, 1.0))
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


def alike_share(null: np.ndarray) -> float:
    """Fraction of the non-copies whose detail agrees by the strictest threshold, if more than `FAR_ALIKE`; else 0."""
    share = float(np.mean(null >= MOST_THRESHOLD)) if len(null) else 0.0
    return share if share > FAR_ALIKE else 0.0


def ordinary_detail(null: np.ndarray) -> float:
    """Agreement that only `FALSE_FRACTION` of the non-copies exceed; a minimum for unaligned near pairs."""
    null = null[null < MOST_THRESHOLD]
    return float(np.quantile(null, 1 - FALSE_FRACTION)) if len(null) else 0.0


def chance(null: np.ndarray, threshold: float) -> float:
    """Probability that a pair of different pictures reaches the threshold, from the tail of non-copies."""
    passing, start, scale = _tail(null)
    return float(passing * np.exp(-max(threshold - start, 0.0) / scale))
