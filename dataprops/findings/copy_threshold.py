"""From which agreement on, or within which distance, two pictures are one: the limits come from pairs that are no copies."""

from __future__ import annotations

import numpy as np
import pandas as pd

LEAST_DETAIL, MOST_THRESHOLD = 0.65, 0.88
TAIL_SCALE = 0.1  # of the agreement of pairs that are no copies, where none was seen
WORTH_CONFIRMING = 0.4  # agreement on thumbnails
FALSE_FRACTION = 0.01  # of images that the rule for exact neighbours may name by chance
NEAR_RATIO = 0.5  # distance over that of the k-th neighbour, at most


def near_ratio(images: pd.DataFrame, k: int) -> float:
    """Ratio of the distance to the k-th neighbour's below which a nearest neighbour is no coincidence.

    In a set of dimension d that is evenly filled, one of k - 1 neighbours lies within a fraction r of the k-th distance with a
    probability of about (k - 1) r^d: that is `FALSE_FRACTION` at this r.
    """
    local = images["local_dimension"].to_numpy(float)
    local = local[np.isfinite(local) & (local > 0)]
    if not len(local):
        return 0.0
    dimension = 1 / np.mean(1 / local)
    return float(min(NEAR_RATIO, (FALSE_FRACTION / max(k - 1, 1)) ** (1 / dimension)))


def detail_threshold(null: np.ndarray, looked_at: int) -> float:
    """Agreement that half a non-copy among so many candidates is expected to reach, within bounds."""
    passing, scale = _tail(null)
    above = np.log(max(passing * looked_at / 0.5, 1.0))
    return float(np.clip(WORTH_CONFIRMING + scale * above, LEAST_DETAIL, MOST_THRESHOLD))


def _tail(null: np.ndarray) -> tuple[float, float]:
    """The fraction of non-copies that are confirmed, and the scale of the exponential tail of their agreement.

    As if one more pair had been seen, by `TAIL_SCALE` beyond `WORTH_CONFIRMING`: of few pairs none may be there. Farther neighbours
    that agree as the strictest threshold asks are copies themselves.
    """
    null = null[null < MOST_THRESHOLD]
    excess = null[null >= WORTH_CONFIRMING] - WORTH_CONFIRMING
    return (len(excess) + 1) / (len(null) + 1), (float(excess.sum()) + TAIL_SCALE) / (len(excess) + 1)


def ordinary_detail(null: np.ndarray) -> float:
    """Agreement that all but `FALSE_FRACTION` of the non-copies stay below, and that a pair must exceed which is near as it is."""
    null = null[null < MOST_THRESHOLD]
    return float(np.quantile(null, 1 - FALSE_FRACTION)) if len(null) else 0.0


def chance(null: np.ndarray, threshold: float) -> float:
    """Probability that a pair of different pictures reaches the threshold, by the tail of those that were examined."""
    passing, scale = _tail(null)
    return float(passing * np.exp(-max(threshold - WORTH_CONFIRMING, 0.0) / scale))
