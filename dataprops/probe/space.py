"""A set in the space of a user's features: intrinsic dimension, label sharpness, and near-coincident pairs.

Distances are Euclidean, re-evaluated in float64 where they decide. Bit-identical vectors count once for the dimension, as identical
images do. A pair is near if its distance is at most r times the distance of both to their k-th nearest neighbour. Under a locally
uniform density in d dimensions, (T_1 / T_k)^d is the minimum of k - 1 uniform variables, so r = (1 / (2 (k - 1) n))^(1/d) gives half a
chance pair expected in the set.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dataprops.distances.vectors import nearest_vectors
from dataprops.properties.dimension import Estimate
from dataprops.properties.estimators import estimate_all, neighbours_needed
from dataprops.properties.sharpness import draw_samples

MOST = 20_000  # images; larger sets are sampled
BLOCK = 512
SHARPEST = 50  # pairs listed


class Pairs(NamedTuple):
    """Pairs of images by position, int64 [p] each, and their distances, float64 [p]."""

    a: np.ndarray
    b: np.ndarray
    distance: np.ndarray


class Sampling(NamedTuple):
    """Samples for the label sharpness: images per sample, number of samples, seed."""

    images: int = 1000
    draws: int = 20
    seed: int = 0


AS_USUAL = Sampling()


class Space(NamedTuple):
    """Measurements in the feature space.

    Attributes
    ----------
    features, distinct : int
    estimates : dict of str to Estimate
    nearest : float64 [n]
        Distance to the nearest other image.
    sharpness : float64 [n]
        K_j of each image, 1 / distance; NaN where there is no other label.
    draws : list of float
        Label sharpness of each draw of m images.
    m : int
    sharpest, near : Pairs
        The sharpest pairs, and near pairs, closest first.
    ratio : float
        r; NaN if the dimension is unknown.
    """

    features: int
    distinct: int
    estimates: dict[str, Estimate]
    nearest: np.ndarray
    sharpness: np.ndarray
    draws: list[float]
    m: int
    sharpest: Pairs
    near: Pairs
    ratio: float


def measure_space(
    vectors: np.ndarray,
    y: np.ndarray,
    *,
    numeric: bool = False,
    k: int = 20,
    groups: tuple[str, ...] = ("mle",),
    sampling: Sampling = AS_USUAL,
) -> Space:
    """Measure dimension, label sharpness and near pairs of feature vectors.

    Parameters
    ----------
    vectors : float [n, features]
    y : float64 [n]
        Classes or numbers; NaN: no label.
    numeric : bool
    k, groups
        As in an audit.
    sampling : Sampling
        Its seed is also used by the estimators.
    """
    x = np.ascontiguousarray(vectors, np.float64) + 0.0  # -0 becomes 0
    _, first, inverse = np.unique(x, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)  # distinct vectors in the order of the images
    place = np.argsort(order)[inverse.ravel()]
    first = first[order]
    distance, neighbour = nearest_vectors(x[first], min(max(2, len(first) - 1), neighbours_needed(groups, k)))
    neighbour = np.where(np.isfinite(distance), neighbour, -1)
    estimates = estimate_all(distance, neighbour, x.shape[1], k, sampling.seed, groups)
    alone = np.bincount(place)[place] == 1
    nearest = np.where(alone, distance[place, 0], 0.0)
    d = estimates["mle"].value if "mle" in estimates else float("nan")
    near, ratio = _near(distance[:, :k], neighbour[:, :k], first, place, d)
    other, partner = _nearest_other(x, y, numeric)
    m = min(sampling.images, len(x))
    if m == len(x):  # every draw is the whole set
        found = [float(np.nan_to_num(other).max(initial=0.0))] * sampling.draws
    else:
        samples = draw_samples(len(x), m, sampling.draws, sampling.seed)
        found = [float(np.nan_to_num(_nearest_other(x[s], y[s], numeric)[0]).max(initial=0.0)) for s in samples]
    sharpest = _sharpest(x, other, partner)
    return Space(x.shape[1], len(first), estimates, nearest, other, found, m, sharpest, near, ratio)


def _near(
    distance: np.ndarray, neighbour: np.ndarray, first: np.ndarray, place: np.ndarray, d: float
) -> tuple[Pairs, float]:
    """Pairs of identical vectors, and pairs much closer than the neighbourhoods of both."""
    copy = np.nonzero(first[place] != np.arange(len(place)))[0]
    a, b, apart = [first[place[copy]]], [copy], [np.zeros(len(copy))]
    n, k = distance.shape
    ratio = float("nan")
    if np.isfinite(d) and d > 0 and k >= 2 and n > k and np.isfinite(distance[:, -1]).all():
        ratio = float((1 / (2 * (k - 1) * n)) ** (1 / d))
        scale = distance[:, -1]
        one = np.repeat(np.arange(n), k)
        two, length = neighbour.ravel().astype(np.int64), distance.ravel()
        kept = (two > one) & (length <= ratio * np.minimum(scale[one], scale[two]))
        # pairs in which only the second lists the first as a neighbour
        back = (two < one) & (length <= ratio * np.minimum(scale[one], scale[two]))
        pairs = np.unique(np.stack([np.r_[one[kept], two[back]], np.r_[two[kept], one[back]]], 1), axis=0)
        a, b = [*a, first[pairs[:, 0]]], [*b, first[pairs[:, 1]]]
        lengths = dict(zip(zip(one.tolist(), two.tolist(), strict=True), length.tolist(), strict=True))
        apart.append(np.array([lengths.get((i, j), lengths.get((j, i), 0.0)) for i, j in pairs.tolist()], float))
    joined = np.concatenate(a), np.concatenate(b), np.concatenate(apart)
    order = np.lexsort((joined[1], joined[0], joined[2]))
    return Pairs(*(column[order] for column in joined)), ratio


def _nearest_other(x: np.ndarray, y: np.ndarray, numeric: bool) -> tuple[np.ndarray, np.ndarray]:
    """K_j of each row and the other row of its pair (-1: none). Pairs of equal vectors are skipped: they are label conflicts."""
    n = len(x)
    best, partner = np.full(n, np.nan), np.full(n, -1, np.int64)
    labelled = np.nonzero(np.isfinite(y))[0]
    z = x[labelled] - x[labelled].mean(0) if len(labelled) else x[:0]
    square, label = (z * z).sum(1), y[labelled]
    for start in range(0, len(labelled), BLOCK):
        part = slice(start, start + BLOCK)
        d2 = np.maximum(square[part, None] + square - 2 * z[part] @ z.T, 0.0)
        gap = np.abs(label[part, None] - label) if numeric else (label[part, None] != label).astype(float)
        # vectors closer than rounding error count as equal
        usable = (gap > 0) & (d2 > 1e-12 * (square[part, None] + square))
        ratio = np.where(usable, gap**2 / np.where(usable, d2, 1.0), -1.0)
        at = ratio.argmax(1)
        rows = np.arange(len(at))
        some = ratio[rows, at] > 0
        exact = np.sqrt(((z[part] - z[at]) ** 2).sum(1))
        ids = labelled[part]
        best[ids[some]] = gap[rows, at][some] / exact[some]
        partner[ids[some]] = labelled[at[some]]
    return best, partner


def _sharpest(x: np.ndarray, sharpness: np.ndarray, partner: np.ndarray) -> Pairs:
    known = np.nonzero(partner >= 0)[0]
    order = known[np.argsort(-sharpness[known], kind="stable")]
    a, b = np.minimum(order, partner[order]), np.maximum(order, partner[order])
    _, once = np.unique(np.stack([a, b], 1), axis=0, return_index=True)
    kept = np.sort(once)[:SHARPEST]
    return Pairs(a[kept], b[kept], np.sqrt(((x[a[kept]] - x[b[kept]]) ** 2).sum(1)))
