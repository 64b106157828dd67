"""Estimators of the intrinsic dimension from nearest-neighbour distances.

T_j(x) is the distance from x to its j-th nearest neighbour, excluding x; exact duplicates are collapsed beforehand, so that every
distance is positive.

- ``mle``: Levina & Bickel 2004 with the averaging of MacKay & Ghahramani 2005. L_i = sum_{j=1}^{k-1} log(T_k / T_j);
  d = (k-1) / mean_i L_i. ``mle_paper`` is (k-2) / mean_i L_i, the factor in the code of Konz & Mazurowski 2024.
- ``twonn``: Facco et al. 2017. mu_i = T_2 / T_1; the slope through the origin of -log(1 - F(mu)) against log mu, the largest
  10 % dropped. ``twonn_paper`` drops only the largest, as the paper's code does. ``twonn_closed`` = N / sum log mu needs no fit.
- ``geomle``: Gomtsyan et al. 2019. Levina-Bickel estimates at each point for k = k1..k2, averaged over bootstrap samples of the
  others and extrapolated to distance 0 by a ridge regression on R_k and R_k^2; d is the mean of the intercepts. The penalty
  depends on the scale: with images in [0, 1], as in the published code, it stabilises the extrapolation (CIFAR-10
  airplane/automobile: 52.3 +- 0.6); in [0, 255] it has no effect (73 +- 48).

Standard errors refer to the sampling of images: the variation between samples of the same size. The terms of an estimate are
dependent, as images share neighbours, so the error of independent terms (delta method) is too narrow, by a factor of 0.54 to 1.04
on real sets.

- MLE: the jackknife over images, which leaves an image out with all that it is to others, less what it counts twice. A term is a
  function of its image and of k neighbours; leaving out each of them counts its variance once for the image and once more for
  the neighbours, while terms that share nothing have the former only. So the sum of the squared changes of terms by single
  neighbours is taken off (Efron & Stein 1981: a jackknife counts interactions once for each image that takes part). No constant
  is involved. It needs the neighbour that takes the place of one left out, so the errors are relative ones with k - 1 neighbours.
- TwoNN: over random halves A, B of the set, each image with its neighbours in its half, E(log d_A - log d_B)^2 / 2 is an unbiased
  estimate of the variance at N / 2, and half of it of that at N if the variance is proportional to 1 / N (Politis, Romano & Wolf
  1999, Subsampling, chapter 3). It is not for the paper's variant, which few near-copies decide: that is the geometric mean with a
  jackknife over groups of images, which is too wide by 1.3 to 1.7 here.
- GeoMLE: the error of independent points, divided by 0.78, measured between disjoint samples of real sets.

Measured coverage: tests/benchmarks/coverage.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

K1, K2, BOOTSTRAPS, RIDGE = 25, 55, 20, 5e-3  # GeoMLE as in the paper's code
# A bootstrap sample contains a fraction 1 - 1/e of the images: of 160 neighbours 101 +- 6, practically never fewer than 55.
GEOMLE_NEIGHBOURS = 160
# In larger sets GeoMLE is evaluated at a random sample of points, each against all images. Their mean agrees with that of the set
# within its error (2,000 of 10,000 CIFAR images: 49.8 +- 1.3, all 52.3 +- 0.6; of 5,000 of tiny ImageNet 68.6 +- 1.6, all 69.0 +-
# 1.0). The same 2,000 images on their own are a sparser set and give lower values (43.8 to 45.0 +- 0.9, and 60.2 to 63.3 +- 1.6).
GEOMLE_POINTS = 2_000
TWONN_DISCARD = 0.1
RESAMPLES = 200
HALVES, GROUPS = 48, 20  # of the TwoNN's standard error
UPPER = 0.4  # exponent of the jackknife's error (which is too large) in the error of the paper's TwoNN
# Ratio of the error of independent points to the spread between disjoint samples of real sets (tests/benchmarks/coverage.md)
GEOMLE_SHARED = 0.78
_CHUNK = 4_000_000  # elements of a scratch array


class Estimate(NamedTuple):
    """An estimated dimension.

    Attributes
    ----------
    value, se : float
        The estimate and its standard error over images; NaN if not available.
    n, k : int
        Images, and neighbours of each, that it uses.
    note : str
        Why it is missing, or a remark.
    """

    value: float
    se: float
    n: int
    k: int
    note: str = ""


def levina_bickel_terms(distances: np.ndarray, k: int) -> np.ndarray:
    """L_i = sum_{j=1}^{k-1} log(T_k / T_j), float64 [n], from ascending distances [n, >= k]."""
    logs = np.log(distances[:, :k])
    return (k - 1) * logs[:, -1] - logs[:, :-1].sum(axis=1)


def local_dimension(distances: np.ndarray, k: int) -> np.ndarray:
    """Levina-Bickel estimate at each image, (k-1) / L_i; infinite if all k distances are equal."""
    with np.errstate(divide="ignore"):
        return (k - 1) / levina_bickel_terms(distances, k)


def _ratio(top: float, mean: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return top / mean


def two_nn_ratios(distances: np.ndarray) -> np.ndarray:
    """log mu_i = log(T_2 / T_1), ascending, float64 [n]."""
    return np.sort(np.log(distances[:, 1] / distances[:, 0]))


def two_nn_slope(log_mu: np.ndarray, keep: int, weight: np.ndarray | None = None) -> float:
    """Slope through the origin of -log(1 - F) against the `keep` smallest log mu; F(mu_(i)) = i / N.

    `weight` is the multiplicity of each value in a bootstrap sample.
    """
    n = len(log_mu)
    if weight is not None:
        log_mu = np.repeat(log_mu, weight)
    x = log_mu[:keep]
    y = -np.log1p(-np.arange(1, keep + 1) / n)
    top, bottom = float(x @ y), float(x @ x)
    return top / bottom if bottom > 0 else float("inf")


def twonn_keep(n: int) -> int:
    """Number of log ratios that the fit keeps, out of n."""
    return int(n * (1 - TWONN_DISCARD))


def mle_value(distances: np.ndarray, index: np.ndarray, k: int, top: float) -> tuple[float, float]:
    """Levina-Bickel estimate with this factor, top / mean L_i, and its standard error (see the module).

    Parameters
    ----------
    distances, index : float64, int [n, >= k]
        `distances` and `neighbour` of `estimators.Neighbours`.
    """
    terms = levina_bickel_terms(distances, k)
    n, mean = len(terms), terms.mean()
    with np.errstate(divide="ignore", invalid="ignore"):  # an infinite estimate has no error
        value, independent = float(_ratio(top, mean)), float(np.std(terms, ddof=1) / np.sqrt(n) / mean)
        if k < 3 or index[:, : k - 1].min() < 0:  # no neighbour to take the place of one left out
            return value, value * independent
        return value, value * max(independent, _jackknifed(np.log(distances[:, :k]), index))


def _jackknifed(logs: np.ndarray, index: np.ndarray) -> float:
    """Relative error of mean L_i with one neighbour less than `logs` has, by the jackknife less what it counts twice; NaN if that
    is more than all."""
    k = logs.shape[1] - 1
    terms = (k - 1) * logs[:, k - 1] - logs[:, : k - 1].sum(axis=1)
    n, own = len(terms), terms.mean() - terms
    # of a term, if this neighbour is left out and the next one joins
    change = (k - 1) * logs[:, k, None] - logs[:, :k].sum(axis=1, keepdims=True) + logs[:, :k] - terms[:, None]
    to_others = np.bincount(index[:, :k].ravel(), change.ravel(), minlength=n)
    # of a sample of images the own numbers are not known, and few are neighbours of each other
    apart = [own + to_others] if len(to_others) == n else [own, to_others]
    variance = sum(float(((x - x.mean()) ** 2).sum()) for x in apart) - float((change**2).sum())
    return float(np.sqrt(variance) / terms.sum())


def twonn_value(
    distances: np.ndarray,
    index: np.ndarray,
    statistic: Callable[[np.ndarray, np.ndarray | None], float],
    rng: np.random.Generator,
    upper: float = 0.0,
) -> tuple[float, float]:
    """A statistic of the log ratios, and its standard error by halves, and with `upper` by a grouped jackknife (see the module).

    Parameters
    ----------
    distances, index : float64, int [n, k]
        `distances` and `neighbour` of `estimators.Neighbours`.
    statistic : callable
        statistic(log ratios, weights or None) -> dimension.
    upper : float
        Exponent of the jackknife's error (which is too large) in the geometric mean with the halves' error.
    """
    value = statistic(two_nn_ratios(distances), None)
    n, total = len(distances), max(len(distances), int(index.max(initial=-1)) + 1)
    with np.errstate(divide="ignore"):
        logs = np.log(distances)
    # rank-major and contiguous; empty slots have a number that is in no sample
    known = np.isfinite(distances) & (index >= 0)
    by_rank = _ByRank(np.ascontiguousarray(logs.T), np.ascontiguousarray(np.where(known, index, total).T))
    # with rows for a sample of images only, their own numbers do not matter, since neighbours are other images
    own = np.arange(n) if total == n else rng.choice(total, n, replace=False)

    def within(inside: np.ndarray) -> float:
        return _log(statistic(_ratios_within(by_rank, np.append(inside, False), np.nonzero(inside[own])[0]), None))

    halves = [_half(total, rng) for _ in range(HALVES)]
    apart = np.array([within(inside) - within(~inside) for inside in halves])
    group = rng.permutation(total) % GROUPS
    without = np.array([within(group != number) for number in range(GROUPS if upper else 0)])
    if not (np.isfinite(apart).all() and np.isfinite(without).all() and np.isfinite(value)):
        return value, _bootstrapped(two_nn_ratios(distances), statistic, rng)
    by_halves = value * float(np.sqrt(np.mean(apart**2)) / 2)
    if not upper:
        return value, by_halves
    by_groups = value * float(np.sqrt((GROUPS - 1) * np.var(without)))
    return value, by_halves ** (1 - upper) * by_groups**upper


def _half(n: int, rng: np.random.Generator) -> np.ndarray:
    inside = np.zeros(n, bool)
    inside[rng.permutation(n)[: n // 2]] = True
    return inside


def _log(value: float) -> float:
    return float(np.log(value)) if value > 0 else float("nan")


class _ByRank(NamedTuple):
    """Log distances to the neighbours of n images, and the neighbours' numbers, [k, n]."""

    logs: np.ndarray
    numbers: np.ndarray


def _ratios_within(near: _ByRank, inside: np.ndarray, images: np.ndarray) -> np.ndarray:
    """log(T_2 / T_1), ascending, of `images` with neighbours limited to `inside`; images with fewer than two such are dropped.

    Goes rank by rank and stops early, since most images find two within the first ranks.
    """
    none, one, first = images, images[:0], np.empty(0)
    out = []
    for logs, index in zip(*near, strict=True):
        met = inside[index[one]]
        out.append(logs[one[met]] - first[met])
        begun = inside[index[none]]
        one, first = np.append(one[~met], none[begun]), np.append(first[~met], logs[none[begun]])
        none = none[~begun]
        if not len(one) and not len(none):
            break
    return np.sort(np.concatenate(out))


def _bootstrapped(
    log_mu: np.ndarray, statistic: Callable[[np.ndarray, np.ndarray | None], float], rng: np.random.Generator
) -> float:
    """Standard error for sets too small to halve, by a bootstrap over the ratios."""
    n = len(log_mu)
    draws = [statistic(log_mu, np.bincount(rng.integers(0, n, n), minlength=n)) for _ in range(RESAMPLES)]
    return float(np.std(draws, ddof=1)) if np.isfinite(draws).all() else float("nan")


def slope_of(keep_of: Callable[[int], int]) -> Callable[[np.ndarray, np.ndarray | None], float]:
    """The TwoNN slope as a statistic; keep_of(n) ratios are kept."""
    return lambda log_mu, weight: two_nn_slope(log_mu, keep_of(len(log_mu)), weight)


def closed_form(log_mu: np.ndarray, weight: np.ndarray | None) -> float:
    """The TwoNN estimate without a fit, N / sum log mu."""
    total = float(log_mu.sum() if weight is None else log_mu @ weight)
    return len(log_mu) / total if total > 0 else float("inf")


def geomle_points(
    distances: np.ndarray,
    neighbours: np.ndarray,
    seed: int,
    k1: int = K1,
    k2: int = K2,
    bootstraps: int = BOOTSTRAPS,
    total: int = 0,
) -> np.ndarray:
    """GeoMLE estimate at each point, float64 [n]; NaN if too few neighbours are known.

    Parameters
    ----------
    distances, neighbours : float64, int [n, K]
        Ascending; K about 1.6 k2 and a margin (`GEOMLE_NEIGHBOURS`). Slots without a neighbour: NaN or infinite, -1.
    seed : int
        Seed of the bootstrap samples.
    total : int
        Number of images that `neighbours` refers to, if the points are a sample of them; 0: the points themselves.
    """
    n = len(distances)
    kept = [_bootstrap(total or n, seed, b) for b in range(bootstraps)]
    step = max(1, _CHUNK // max(1, distances.shape[1]))
    parts = [
        _geomle_chunk(distances[s : s + step], neighbours[s : s + step], kept, k1, k2, RIDGE) for s in range(0, n, step)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def _bootstrap(n: int, seed: int, number: int) -> np.ndarray:
    """Which of n images are in a bootstrap sample, bool [n]."""
    inside = np.zeros(n, bool)
    inside[np.random.default_rng([seed, number]).integers(0, n, n)] = True
    return inside


def _geomle_chunk(
    distances: np.ndarray, neighbours: np.ndarray, kept: list[np.ndarray], k1: int, k2: int, alpha: float
) -> np.ndarray:
    n = len(distances)
    ks = np.arange(k1, k2 + 1)
    known = np.isfinite(distances) & (neighbours >= 0)
    safe = np.where(known, neighbours, 0)
    logs = np.log(np.where(known, distances, 1.0))
    count = np.zeros((n, len(ks)))
    mean, spread, radius = np.zeros((n, len(ks))), np.zeros((n, len(ks))), np.zeros((n, len(ks)))
    for inside in kept:
        chosen = inside[safe] & known
        place = chosen.cumsum(axis=1)
        rows, columns = np.nonzero(chosen & (place <= k2))
        of = np.full((n, k2), np.nan)
        of[rows, place[rows, columns] - 1] = logs[rows, columns]
        below = of.cumsum(axis=1)  # sum of log T_1..log T_j
        log_r = of[:, k1 - 1 :]
        total = (ks - 1) * log_r - below[:, k1 - 2 : -1]  # sum_{j<k} log(T_k / T_j)
        with np.errstate(divide="ignore", invalid="ignore"):
            d = (ks - 2) / total
        valid = np.isfinite(d)
        count += valid
        # Welford's running mean and sum of squared deviations
        step = np.where(valid, d - mean, 0.0)
        with np.errstate(invalid="ignore"):
            mean += np.where(valid, step / np.maximum(count, 1), 0.0)
        spread += np.where(valid, step * (d - mean), 0.0)
        radius += np.where(valid, np.exp(np.where(valid, log_r, 0.0)), 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        radius = np.where(count > 0, radius / count, np.nan)
        mean = np.where(count > 0, mean, np.nan)
        std = np.sqrt(np.where(count > 1, spread / (count - 1), np.nan))
    return _ridge_intercepts(radius, mean, std, alpha)


def _ridge_intercepts(radius: np.ndarray, d: np.ndarray, std: np.ndarray, alpha: float) -> np.ndarray:
    """Intercept of a weighted ridge regression of d on (R, R^2), row by row.

    The penalty applies to the raw columns; columns and penalty are scaled for numerical stability.
    """
    plain = ~(np.isfinite(std) & (std > 0)).all(axis=1)
    weight = np.where(plain[:, None], 1.0, 1.0 / np.where(plain[:, None], 1.0, std))
    scale = np.abs(radius).max(axis=1, keepdims=True)
    columns = (radius / scale, (radius / scale) ** 2)
    penalties = (alpha / scale[:, 0] ** 2, alpha / scale[:, 0] ** 4)
    total = weight.sum(axis=1, keepdims=True)

    def centre(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        middle = (weight * values).sum(axis=1, keepdims=True) / total
        return values - middle, middle[:, 0]

    (x1, m1), (x2, m2), (y, my) = centre(columns[0]), centre(columns[1]), centre(d)
    s11 = (weight * x1 * x1).sum(axis=1) + penalties[0]
    s22 = (weight * x2 * x2).sum(axis=1) + penalties[1]
    s12 = (weight * x1 * x2).sum(axis=1)
    t1, t2 = (weight * x1 * y).sum(axis=1), (weight * x2 * y).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        determinant = s11 * s22 - s12 * s12
        b1 = (s22 * t1 - s12 * t2) / determinant
        b2 = (s11 * t2 - s12 * t1) / determinant
        return my - b1 * m1 - b2 * m2


def geomle_value(
    distances: np.ndarray, neighbours: np.ndarray, n_features: int, seed: int, total: int
) -> tuple[float, float, str]:
    """GeoMLE of the set, its standard error over points, and why it is missing ("" if it is not); see `geomle_points`."""
    points = geomle_points(distances, neighbours, seed, total=total)
    points = points[np.isfinite(points)]
    if len(points) < 2:
        return float("nan"), float("nan"), "too few neighbours remain in the bootstrap samples"
    value = float(np.clip(points.mean(), 0.0, n_features))
    return value, float(points.std(ddof=1) / np.sqrt(len(points))) / GEOMLE_SHARED, ""
