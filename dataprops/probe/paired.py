"""Paired change in the reference classifier's held-out loss between two states of a set.

Images in both states keep their folds, and new ones are assigned to balance the classes (`folds.assign_folds`), so the set differs,
not its division. The change is that of the log mean loss. Its interval resamples whole leak groups of the union of both states
(patients, copies, an image and its earlier version), so that what the states share cancels.

Resampling leak groups covers test-set variance. Training-set variance is added where images were added or removed: by Nadeau & Bengio
[1]_ the variance of a K-fold mean is 1 + K/(K - 1) times that of its test images alone. Images in both states also share their
training sets, so the term is weighted by the fraction of images in one state only.

References
----------
.. [1] C. Nadeau, Y. Bengio, Inference for the Generalization Error, Machine Learning 52 (2003).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dataprops.probe.bootstrap import bootstrap_weights
from dataprops.probe.calibrate import cross_fitted, log_losses
from dataprops.probe.curve import LATE
from dataprops.probe.folds import unite
from dataprops.probe.ridge import held_scores, targets

FLOOR = 1e-4  # nats; smaller mean losses are raised to it


class State(NamedTuple):
    """A state of a set: loss float64 [n] and leak group int64 [n] of each image."""

    loss: np.ndarray
    leak_group: np.ndarray


class LossChange(NamedTuple):
    """log(mean loss after / mean loss before) with its 95 % interval, and both means (nats)."""

    value: float
    low: float
    high: float
    before: float
    after: float


def refitted_losses(
    kernel: np.ndarray, y: np.ndarray, folds: np.ndarray, strength: float, *, numeric: bool
) -> np.ndarray:
    """Held-out loss of each image for given folds, float64 [n]: log loss in nats; for numbers squared error / variance.

    `kernel` holds the features' inner products, float64 [n, n] (`ridge.inner_products`).
    """
    if numeric:
        target = ((y - y.mean()) / y.std())[:, None]
        return (held_scores(kernel, target, folds, strengths=(strength,)).scores[:, 0] - target[:, 0]) ** 2
    scores = held_scores(kernel, targets(y, int(y.max()) + 1), folds, strengths=(strength,)).scores
    return log_losses(cross_fitted(scores, y, folds), y)


def change(before: State, after: State, partner: np.ndarray, folds: int, seed: int = 0) -> LossChange:
    """The change between two states.

    Parameters
    ----------
    before, after : State
    partner : int64 [n after]
        Position of the image in `before`; -1: new.
    folds : int
    seed : int
    """
    p, n = len(before.loss), len(after.loss)
    kept = np.nonzero(partner >= 0)[0]
    pairs = np.stack([partner[kept], p + kept], axis=1)
    leak_group = unite(
        p + n, np.concatenate([before.leak_group, int(before.leak_group.max(initial=-1)) + 1 + after.leak_group]), pairs
    )
    leak_groups = int(leak_group.max()) + 1
    weights = bootstrap_weights(leak_groups, seed)
    drawn = []
    for state, mine in ((before, leak_group[:p]), (after, leak_group[p:])):
        sums, count = np.bincount(mine, state.loss, leak_groups), np.bincount(mine, minlength=leak_groups)
        drawn.append((weights @ sums) / np.maximum(weights @ count, 1))
    means = [max(float(state.loss.mean()), FLOOR) for state in (before, after)]
    value = float(np.log(means[1] / means[0]))
    low, high = np.quantile(np.log(np.maximum(drawn[1], FLOOR) / np.maximum(drawn[0], FLOOR)), [0.025, 0.975])
    alone = 1 - 2 * len(kept) / (p + n)
    wider = np.sqrt(1 + alone * folds / max(1, folds - 1))
    return LossChange(value, value - wider * (value - float(low)), value + wider * (float(high) - value), *means)


def expected_change(curve: list[tuple[float, float]], before: int, after: int) -> float:
    """Change in log mean loss explained by the number of images, from the earlier learning curve [(n, loss)]; 0 without one."""
    points = [(n, loss) for n, loss in curve if n and loss and loss > 0][-LATE:]
    if len(points) < 2 or not before or not after:
        return 0.0
    x, y = np.log(np.array(points, float)).T
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
    return min(slope, 0.0) * float(np.log(after / before))
