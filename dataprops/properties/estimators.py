"""The table of dimension estimators: each row holds function, requirements, and texts for results and reports.

`register` adds a user's estimator; installed packages add theirs by an entry point of the group ``dataprops.estimators``. Random
numbers depend on the seed and the estimator's name only, not on which other estimators are requested.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dataprops.errors import DatapropsError
from dataprops.properties.dimension import (
    GEOMLE_NEIGHBOURS,
    GEOMLE_POINTS,
    K2,
    UPPER,
    Estimate,
    closed_form,
    geomle_value,
    mle_value,
    slope_of,
    twonn_keep,
    twonn_value,
)
from dataprops.util.registry import Registry

GROUP = "dataprops.estimators"


class Neighbours(NamedTuple):
    """Input of an estimator.

    Attributes
    ----------
    distances : float64 [n, K]
        Ascending distances of each of n distinct images to its K nearest neighbours, all positive; empty slots are infinite.
    neighbour : int [n, K]
        Their numbers 0..n-1; -1 in empty slots.
    features : int
        D, an upper bound of the dimension.
    k : int
        Neighbours as set by the audit's option; K may be larger.
    full_range : float
        Range of the pixels: distances divided by it are those of images in [0, 1].
    seed : int
        Seed of the audit.
    rng : numpy.random.Generator
        Generator of this estimator.
    total : int
        Number of images that `neighbour` refers to, if the n are a sample of them; 0: the n themselves.
    """

    distances: np.ndarray
    neighbour: np.ndarray
    features: int
    k: int
    full_range: float
    seed: int
    rng: np.random.Generator
    total: int = 0


@dataclass(frozen=True, kw_only=True)
class Estimator:
    """A dimension estimator.

    Attributes
    ----------
    name : str
        Key in results, as ``intrinsic_dimension.<name>``.
    group : str
        The value of ``--estimators`` that selects it; several estimators may share one.
    title, short : str
        Names for terminal and report, and for plots.
    explanation : str
        For the reference table.
    estimate : callable
        estimate(Neighbours) -> (value, standard error over images, note why it is missing or ""); NaN if not available.
    least : callable
        least(k) -> minimum number of distinct images.
    used : int
        Neighbours of each image that it uses; 0: k.
    collected : int
        Neighbours of each image to collect for it; 0: k.
    points : int
        Maximum number of images at which it is evaluated; in larger sets a random sample, in a separate pass; 0: all.
    sampled : bool
        Whether it is available if only a sample of images (`--anchors`) was compared with all.
    """

    name: str
    group: str
    title: str
    short: str
    explanation: str
    estimate: Callable[[Neighbours], tuple[float, float, str]]
    least: Callable[[int], int]
    used: int = 0
    collected: int = 0
    points: int = 0
    sampled: bool = True


def _mle(less: int) -> Callable[[Neighbours], tuple[float, float, str]]:
    return lambda x: (*mle_value(x.distances, x.neighbour, x.k, x.k - less), "")


def _twonn(
    statistic: Callable[[np.ndarray, np.ndarray | None], float], upper: float = 0.0
) -> Callable[[Neighbours], tuple[float, float, str]]:
    # only the k nearest, so that the error does not depend on how many more were collected for another estimator
    return lambda x: (*twonn_value(x.distances[:, : x.k], x.neighbour[:, : x.k], statistic, x.rng, upper), "")


def _geomle(x: Neighbours) -> tuple[float, float, str]:
    return geomle_value(x.distances / x.full_range, x.neighbour, x.features, x.seed, x.total)


BUILT_IN: tuple[Estimator, ...] = (
    Estimator(
        name="mle",
        group="mle",
        title="MLE",
        short="MLE",
        explanation="Levina-Bickel, inverse of the mean over images, factor k-1",
        estimate=_mle(1),
        least=lambda k: k + 1,
    ),
    Estimator(
        name="mle_paper",
        group="mle",
        title="MLE as in the paper",
        short="MLE, paper",
        explanation="as mle, with the factor k-2 of the paper's code",
        estimate=_mle(2),
        least=lambda k: k + 1,
    ),
    Estimator(
        name="twonn",
        group="twonn",
        title="TwoNN",
        short="TwoNN",
        explanation="slope fit to the ratios of the two nearest distances, without the largest 10 %",
        estimate=_twonn(slope_of(twonn_keep)),
        least=lambda k: 11,
        used=2,
    ),
    Estimator(
        name="twonn_paper",
        group="twonn",
        title="TwoNN as in the paper",
        short="TwoNN, paper",
        explanation="as twonn, without only the largest ratio, as in the paper's code",
        estimate=_twonn(slope_of(lambda n: n - 1), UPPER),
        least=lambda k: 3,
        used=2,
    ),
    Estimator(
        name="twonn_closed",
        group="twonn",
        title="TwoNN, closed form",
        short="TwoNN, closed",
        explanation="closed form, N / sum of the log ratios",
        estimate=_twonn(closed_form),
        least=lambda k: 3,
        used=2,
    ),
    Estimator(
        name="geomle",
        group="geomle",
        title="GeoMLE",
        short="GeoMLE",
        explanation="Levina-Bickel at k = 25..55 over bootstrap samples, extrapolated to distance 0",
        estimate=_geomle,
        least=lambda k: 2 * K2,
        used=K2,
        collected=GEOMLE_NEIGHBOURS,
        points=GEOMLE_POINTS,
        sampled=False,  # it needs the neighbours of neighbours
    ),
)


def _fits(row: Estimator, others: Mapping[str, Estimator]) -> None:
    for what in (row.name, row.group):
        if not (what.isidentifier() and what == what.lower()):
            raise DatapropsError(f"the estimator's name {what!r} must be lower-case letters, digits and underscores")
    if row.name == "sample":
        raise DatapropsError(f"the estimator's name {row.name!r} is reserved: choose another")


ESTIMATORS: Registry[Estimator] = Registry(GROUP, Estimator, lambda: BUILT_IN, _fits)


def register(estimator: Estimator) -> Estimator:
    """Add an estimator to all later audits of this process; returns it.

    Raises
    ------
    DatapropsError
        If it is incomplete or its name is taken.
    """
    return ESTIMATORS.register(estimator)


def unregister(name: str) -> None:
    """Remove an estimator from the table."""
    ESTIMATORS.unregister(name)


def groups(*, sampled: bool = False) -> tuple[str, ...]:
    """The groups of estimators in table order; with `sampled`, those available from a sample of images."""
    wanted = (row.group for row in ESTIMATORS.values() if row.sampled or not sampled)
    return tuple(dict.fromkeys(wanted))


def title_of(name: str, *, short: bool = False) -> str:
    """The title of an estimator; its name if it is not in this table."""
    row = ESTIMATORS.get(name)
    return name if row is None else row.short if short else row.title


def from_samples(groups: Sequence[str], n: int) -> list[Estimator]:
    """Estimators of these groups that are evaluated at a sample of n distinct images; see `sampled.sampled_estimates`."""
    return [row for row in ESTIMATORS.values() if row.group in groups and 0 < row.points < n]


def neighbours_needed(groups: Sequence[str], k: int, n: int = 0) -> int:
    """Neighbours that the pass over n distinct images must collect for these groups of estimators.

    Estimators that sample images have a separate pass.
    """
    apart = from_samples(groups, n)
    return max([k, *(row.collected for row in ESTIMATORS.values() if row.group in groups and row not in apart)])


def generator(seed: int, name: str) -> np.random.Generator:
    """A generator that depends on seed and name only."""
    return np.random.default_rng([seed, int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())])


def estimate_all(
    distances: np.ndarray,
    neighbours: np.ndarray,
    n_features: int,
    k: int = 20,
    seed: int = 0,
    groups: Sequence[str] = ("mle", "twonn", "geomle"),
    full_range: float = 1.0,
) -> dict[str, Estimate]:
    """Run all estimators of these groups.

    Parameters
    ----------
    distances, neighbours : float64, int [n, K]
        Ascending distances of n distinct images to their K nearest neighbours, and their numbers 0..n-1; empty slots are infinite
        and -1.
    n_features : int
        D, an upper bound in GeoMLE.
    k : int
        Neighbours of the maximum-likelihood estimates.
    seed : int
        Seed of the bootstrap.
    full_range : float
        Range of the pixels, 255 for images in [0, 255]; GeoMLE divides distances by it.

    Returns
    -------
    dict
        Name -> Estimate; a missing estimate is NaN with a note; k is never changed silently.
    """
    n = len(distances)
    out: dict[str, Estimate] = {}
    for name, row in ESTIMATORS.items():
        if row.group not in groups:
            continue
        used = row.used or k
        if n < row.least(k):
            note = f"needs at least {row.least(k)} distinct images, has {n}"
            out[name] = Estimate(float("nan"), float("nan"), n, used, note)
            continue
        seen = Neighbours(distances, neighbours, n_features, k, full_range, seed, generator(seed, name))
        out[name] = estimate(row, seen)
    return out


def estimate(row: Estimator, seen: Neighbours) -> Estimate:
    """Run one estimator; NaN with a note if the estimate is not available."""
    value, se, note = row.estimate(seen)
    if not np.isfinite(value):
        value, se, note = float("nan"), float("nan"), note or "the neighbour distances are all equal"
    return Estimate(float(value), float(se), len(seen.distances), row.used or seen.k, note)
