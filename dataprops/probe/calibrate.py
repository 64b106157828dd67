"""Probability calibration: one temperature and one offset per class, fitted to held-out scores by maximum likelihood.

With two classes this is Platt scaling [1]_, with Platt's target smoothing, so that probabilities stay finite without a held-out
error. The calibration of each fold is fitted to the scores of the other folds.

References
----------
.. [1] J. Platt, Probabilistic Outputs for Support Vector Machines, 1999.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

RIDGE = 1e-3  # penalty on the offsets, which are determined only up to a common constant
TEMPERATURES = (0.0, 50.0)
FLAT = 1e-9  # least curvature in the temperature
NEAR, CLOSE = 1e-9, 1e-18  # expected decrease from which full steps are taken, and at which the search ends
MOST = 100  # steps


class Scaling(NamedTuple):
    """logits = temperature * scores + offset; float, float64 [classes]."""

    temperature: float
    offset: np.ndarray


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Row-wise log-softmax."""
    shifted = logits - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


class _CrossEntropy:
    """Mean cross-entropy of Platt's targets, with the penalty, as a function of x = (temperature, offsets)."""

    def __init__(self, scores: np.ndarray, y: np.ndarray) -> None:
        n, classes = scores.shape
        counts = np.bincount(y, minlength=classes)
        # Platt's target (n_c + 1) / (n_c + 2) for the given class; the rest is divided equally among the others
        right = ((counts + 1) / (counts + 2))[y]
        rest = (1 - right) / max(1, classes - 1)
        wanted = np.repeat(rest[:, None], classes, axis=1)
        wanted[np.arange(n), y] = right
        self.scores, self.total = scores, wanted.sum(1)
        self.sums = np.concatenate(
            [[(wanted * scores).sum()], wanted.sum(0)]
        )  # all of the targets that the value needs

    def at(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """The value, and the probabilities [n, classes] times each image's total target."""
        odds = self.scores * x[0] + x[1:]
        top = odds.max(1)
        odds -= top[:, None]
        np.exp(odds, out=odds)
        mass = odds.sum(1)
        value = float(self.total @ (np.log(mass) + top)) - float(self.sums @ x)
        odds *= (self.total / mass)[:, None]
        return value / len(odds) + RIDGE / 2 * float(x[1:] @ x[1:]), odds

    def gradient(self, x: np.ndarray, share: np.ndarray) -> np.ndarray:
        """Gradient [1 + classes] at x; `share` is what `at` returned there."""
        by_score = float(np.einsum("ij,ij->", share, self.scores))
        out = (np.concatenate([[by_score], share.sum(0)]) - self.sums) / len(share)
        out[1:] += RIDGE * x[1:]
        return out

    def curvature(self, share: np.ndarray) -> np.ndarray:
        """Hessian [1 + classes, 1 + classes], regularised so that it is positive definite even for constant scores."""
        part = share * self.scores
        mean = part.sum(1) / self.total
        out = np.empty((1 + share.shape[1],) * 2)
        out[0, 0] = np.einsum("ij,ij->", part, self.scores) - float(self.total @ mean**2)
        out[0, 1:] = out[1:, 0] = part.sum(0) - mean @ share
        out[1:, 1:] = np.diag(share.sum(0)) - (share / self.total[:, None]).T @ share
        out /= len(share)
        out[np.diag_indices_from(out)] += np.concatenate([[FLAT], np.full(share.shape[1], RIDGE)])
        return out


def _minimum(loss: _CrossEntropy, x: np.ndarray, free: slice, curvature: np.ndarray | None) -> np.ndarray:
    """Minimum over the `free` parameters from x by Newton's method, with the given curvature as long as that converges fast."""
    (value, share), before = loss.at(x), np.inf
    for _ in range(MOST):
        slope = loss.gradient(x, share)[free]
        curvature = loss.curvature(share) if curvature is None else curvature
        step = np.zeros_like(x)
        step[free] = np.linalg.solve(curvature[free, free], -slope)
        gain = -float(step[free] @ slope)  # twice the expected decrease
        if gain <= CLOSE:
            break
        size, reached = 1.0, loss.at(x + step)
        while gain > NEAR and reached[0] > value - size * gain / 4:  # nearer than that, rounding decides
            size /= 2
            reached = loss.at(x + size * step)
        x, (value, share) = x + size * step, reached
        if size < 1 or gain > before / 16:
            curvature = None
        before = gain
    return x


def _fitted(loss: _CrossEntropy, x: np.ndarray | None = None, curvature: np.ndarray | None = None) -> np.ndarray:
    """Minimum with the temperature within `TEMPERATURES`; the loss is convex, so a minimum outside means one at the end.

    The search starts at x, by default without offsets.
    """
    start = np.concatenate([[2.0], np.zeros(loss.scores.shape[1])]) if x is None else x
    x = _minimum(loss, start, slice(0, None), curvature)
    inside = np.clip(x[0], *TEMPERATURES)
    return x if inside == x[0] else _minimum(loss, np.concatenate([[inside], x[1:]]), slice(1, None), None)


def fit_scaling(scores: np.ndarray, y: np.ndarray) -> Scaling:
    """Fit temperature (>= 0) and offsets to scores float64 [n, classes] and classes int64 [n]."""
    x = _fitted(_CrossEntropy(scores, y))
    return Scaling(float(x[0]), x[1:])


def fold_scalings(scores: np.ndarray, y: np.ndarray, folds: np.ndarray) -> list[Scaling]:
    """The scaling of each fold, in order, fitted to the scores of the other folds.

    Searched from the fit to all scores with its curvature, which is nearly that of each fold's loss.
    """
    every = _CrossEntropy(scores, y)
    start = _fitted(every)
    curvature = every.curvature(every.at(start)[1])
    found = [
        _fitted(_CrossEntropy(scores[kept], y[kept]), start, curvature)
        for kept in (folds != f for f in np.unique(folds))
    ]
    return [Scaling(float(x[0]), x[1:]) for x in found]


def probabilities(scaling: Scaling, scores: np.ndarray) -> np.ndarray:
    """float64 [n, classes]."""
    return np.exp(log_softmax(scaling.temperature * scores + scaling.offset))


def rescaled(scores: np.ndarray, folds: np.ndarray, scalings: list[Scaling]) -> np.ndarray:
    """Probabilities [n, classes] with each fold's own scaling (`fold_scalings`)."""
    out = np.empty_like(scores)
    for fold, scaling in zip(np.unique(folds), scalings, strict=True):
        out[folds == fold] = probabilities(scaling, scores[folds == fold])
    return out


def cross_fitted(scores: np.ndarray, y: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Probabilities [n, classes], each fold calibrated on the scores of the other folds."""
    return rescaled(scores, folds, fold_scalings(scores, y, folds))


def log_losses(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """-log p of the given class, nats, float64 [n]."""
    return -np.log(np.maximum(p[np.arange(len(y)), y], 1e-12))
