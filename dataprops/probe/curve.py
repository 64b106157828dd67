"""The learning curve of the probe: error and log loss after training on 1/8, 1/4, 1/2 and all of the images.

Every size is tested on all images, each by a fit to the other folds, so that sizes differ in training only. The loss at twice (and
four times) as many images is extrapolated by a power law through the largest sizes, never beyond four times.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

FRACTIONS = (8, 4, 2, 1)
LEAST_ERRORS = 10
LEAST_TRAINED = 8
LATE = 3  # largest sizes, to which the power law is fitted
FARTHEST = 4
# factor of the half width for deviations from a power law, measured on real sets (tests/benchmarks/coverage.md)
POWER_LAW = 1.4


class Gain(NamedTuple):
    """The fraction by which the log loss falls with `times` as many images; negative where it rises. 95 % interval."""

    value: float
    low: float
    high: float


def nested_subsets(y: np.ndarray, leak_group: np.ndarray, seed: int) -> dict[int, np.ndarray]:
    """Denominator -> bool [n]: nested subsets of whole leak groups, stratified by class as far as leak groups allow."""
    rng = np.random.default_rng([seed, 13])
    names, code = np.unique(leak_group, return_inverse=True)
    key = rng.random(len(names))[code]
    # rank of each image within its class, ordered by the random key of its leak group
    place = np.empty(len(y))
    for c in np.unique(y):
        of = np.nonzero(y == c)[0]
        place[of[np.argsort(key[of], kind="stable")]] = (np.arange(len(of)) + 0.5) / len(of)
    # the first image of a leak group decides for the whole group, so that none is split
    first = np.full(len(names), np.inf)
    np.minimum.at(first, code, place)
    return {part: first[code] < 1 / part for part in FRACTIONS}


def slope(sizes: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """d log loss / d log n over the `LATE` largest sizes, by least squares; losses [..., sizes]."""
    x = np.log(sizes[-LATE:]) - np.log(sizes[-LATE:]).mean()
    return (np.log(losses[..., -LATE:]) * x).sum(-1) / (x * x).sum()


def gain(
    sizes: np.ndarray, losses: np.ndarray, weights: np.ndarray, leak_group: np.ndarray, times: float = 2.0
) -> Gain:
    """Expected relative decrease in log loss with `times` as many images.

    Parameters
    ----------
    sizes : float [s]
        Images trained on.
    losses : float [n, s]
        Log loss of each image at each size.
    weights : int [draws, leak_groups]
        From `bootstrap_weights`.
    leak_group : int64 [n]
    times : float
        At most `FARTHEST`.
    """
    if times > FARTHEST:
        raise ValueError(f"gains are not extrapolated beyond {FARTHEST} times as many images, got {times:g}")
    sums = np.zeros((weights.shape[1], losses.shape[1]))
    np.add.at(sums, leak_group, losses)
    count = np.bincount(leak_group, minlength=weights.shape[1])
    drawn = (weights @ sums) / np.maximum(weights @ count, 1)[:, None]
    found = 1 - times ** slope(sizes, np.maximum(drawn, 1e-9))
    low, high = np.quantile(found, [0.025, 0.975])
    return Gain(float(1 - times ** slope(sizes, np.maximum(losses.mean(0), 1e-9))), float(low), float(high))


def widened(gain: Gain, ratio: float) -> Gain:
    """Widen a gain's interval for training-set variance (`spread.training_ratio`) and for deviations from a power law."""
    value, low, high = gain
    return Gain(value, value - POWER_LAW * ratio * (value - low), value + POWER_LAW * ratio * (high - value))
