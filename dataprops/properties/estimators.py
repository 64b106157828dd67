"""The table of dimension estimators: one row holds the function, what it needs, and its words in results and reports.

`register` adds one of your own; an installed package does with an entry point of the group ``dataprops.estimators``. Random numbers
hang on the seed and the estimator's name: a number does not depend on which others were asked for.
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
    """What an estimator sees.

    Attributes
    ----------
    distances : float64 [n, K]
        Ascending distances of each of n distinct images to its K nearest others, all positive; slots without one are infinite.
    neighbour : int [n, K]
        Their numbers 0..n-1; -1 where there is none.
    features : int
        D: no dimension exceeds it.
    k : int
        Neighbours that the audit asks for; K may be larger.
    full_range : float
        Distances over this are those of images in [0, 1].
    seed : int
        The audit's.
    rng : numpy.random.Generator
        Of this estimator alone.
    total : int
        Images that `neighbour` counts, where the n are a sample of them; 0: there are no others.
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
        In results, as ``intrinsic_dimension.<name>``.
    group : str
        The value of ``--estimators`` that asks for it; several estimators may share one.
    title, short : str
        In the summary of the terminal and the report; in plots.
    explanation : str
        For reference.
    estimate : callable
        estimate(neighbours) -> (value, standard error over images, note why it is missing or ""); NaN where it cannot be had.
    least : callable
        least(k) -> distinct images that it needs.
    used : int
        Neighbours of each image that it uses; 0: k.
    collected : int
        Neighbours of each image that must be collected for it; 0: k.
    points : int
        Images that it is estimated at: of larger sets a random sample, in a pass of its own; 0: all.
    sampled : bool
        Whether it can be had where only a sample of images (`--anchors`) was compared with all.
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
    return lambda x: (*mle_value(x.distances, x.k, x.k - less, x.rng), "")


def _twonn(
    statistic: Callable[[np.ndarray, np.ndarray | None], float], upper: float = UPPER
) -> Callable[[Neighbours], tuple[float, float, str]]:
    # the k nearest alone: an error must not depend on how many more another estimator had collected
    return lambda x: (*twonn_value(x.distances[:, : x.k], x.neighbour[:, : x.k], statistic, x.rng, upper), "")


def _geomle(x: Neighbours) -> tuple[float, float, str]:
    return geomle_value(x.distances / x.full_range, x.neighbour, x.features, x.seed, x.total)


BUILT_IN: tuple[Estimator, ...] = (
    Estimator(
        name="mle",
        group="mle",
        title="MLE",
        short="MLE",
        explanation="Levina-Bickel, inverse averaged over images, factor k-1",
        estimate=_mle(1),
        least=lambda k: k + 1,
    ),
    Estimator(
        name="mle_paper",
        group="mle",
        title="MLE as in the paper",
        short="MLE, paper",
        explanation="as mle with the factor k-2 of the paper's code",
        estimate=_mle(2),
        least=lambda k: k + 1,
    ),
    Estimator(
        name="twonn",
        group="twonn",
        title="TwoNN",
        short="TwoNN",
        explanation="slope over the ratios of the two nearest distances, the largest 10 % discarded",
        estimate=_twonn(slope_of(twonn_keep)),
        least=lambda k: 11,
        used=2,
    ),
    Estimator(
        name="twonn_paper",
        group="twonn",
        title="TwoNN as in the paper",
        short="TwoNN, paper",
        explanation="as twonn with only the largest ratio discarded, as the paper's code does",
        estimate=_twonn(slope_of(lambda n: n - 1), 0.5),
        least=lambda k: 3,
        used=2,
    ),
    Estimator(
        name="twonn_closed",
        group="twonn",
        title="TwoNN, closed form",
        short="TwoNN, closed",
        explanation="N over the sum of the log ratios, without a fit",
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
    """Add an estimator to every later audit of this process; returns it.

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
    """The groups of estimators, in their order; with `sampled` those that a sample of images suffices for."""
    wanted = (row.group for row in ESTIMATORS.values() if row.sampled or not sampled)
    return tuple(dict.fromkeys(wanted))


def title_of(name: str, *, short: bool = False) -> str:
    """The title of an estimate; its name, if a result has one that is not in the table here."""
    row = ESTIMATORS.get(name)
    return name if row is None else row.short if short else row.title


def from_samples(groups: Sequence[str], n: int) -> list[Estimator]:
    """Estimators of these groups that use a sample of n distinct images; see `sampled.sampled_estimates`."""
    return [row for row in ESTIMATORS.values() if row.group in groups and 0 < row.points < n]


def neighbours_needed(groups: Sequence[str], k: int, n: int = 0) -> int:
    """Neighbours that the pass over pairs of n distinct images must collect for these groups of estimators.

    Estimators that sample images have a pass of their own.
    """
    apart = from_samples(groups, n)
    return max([k, *(row.collected for row in ESTIMATORS.values() if row.group in groups and row not in apart)])


def generator(seed: int, name: str) -> np.random.Generator:
    """Random numbers of a name: the same whatever else is drawn."""
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
    """All estimates of these groups of estimators.

    Parameters
    ----------
    distances, neighbours : float64, int [n, K]
        Ascending distances of the n distinct images to their K nearest others, and their numbers 0..n-1; slots without a
        neighbour are infinite and -1.
    n_features : int
        D: no estimate exceeds it by design of GeoMLE.
    k : int
        Neighbours of the maximum-likelihood estimates.
    seed : int
        Of the bootstrap.
    full_range : float
        Distances are divided by this for GeoMLE alone: 255 for images in [0, 255].

    Returns
    -------
    dict
        Name -> Estimate; a missing estimate is NaN with a note, k is never changed silently.
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
    """One estimate; NaN with a note where it cannot be had."""
    value, se, note = row.estimate(seen)
    if not np.isfinite(value):
        value, se, note = float("nan"), float("nan"), note or "the neighbour distances are all equal"
    return Estimate(float(value), float(se), len(seen.distances), row.used or seen.k, note)
