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


class Scaling(NamedTuple):
    """logits = temperature * scores + offset; float, float64 [classes]."""

    temperature: float
    offset: np.ndarray


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Row-wise log-softmax."""
    shifted = logits - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def fit_scaling(scores: np.ndarray, y: np.ndarray) -> Scaling:
    """Fit temperature (>= 0) and offsets to scores float64 [n, classes] and classes int64 [n]."""
    from scipy.optimize import minimize

    n, classes = scores.shape
    counts = np.bincount(y, minlength=classes)
    # Platt's target (n_c + 1) / (n_c + 2) for the given class; the rest is divided equally among the others
    right = ((counts + 1) / (counts + 2))[y]
    rest = (1 - right) / max(1, classes - 1)
    wanted = np.repeat(rest[:, None], classes, axis=1)
    wanted[np.arange(n), y] = right
    of_score, of_class = float((wanted * scores).sum()), wanted.sum(0)
    total = wanted.sum(1)
    logits = np.empty_like(scores)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """Cross-entropy and its gradient; the targets enter only by their sums."""
        temperature, offset = parameters[0], parameters[1:]
        np.multiply(scores, temperature, out=logits)
        np.add(logits, offset, out=logits)
        top = logits.max(1)
        np.subtract(logits, top[:, None], out=logits)
        odds = np.exp(logits, out=logits)
        mass = odds.sum(1)
        value = float(total @ (np.log(mass) + top)) - temperature * of_score - float(of_class @ offset)
        share = total / mass
        by_class = share @ odds - of_class
        by_score = float(share @ np.einsum("ij,ij->i", odds, scores)) - of_score
        gradient = np.concatenate([[by_score], by_class]) / n
        gradient[1:] += RIDGE * offset
        return value / n + RIDGE / 2 * float(offset @ offset), gradient

    start = np.concatenate([[2.0], np.zeros(classes)])
    bounds = [(0.0, 50.0)] + [(-20.0, 20.0)] * classes
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return Scaling(float(found.x[0]), found.x[1:])


def probabilities(scaling: Scaling, scores: np.ndarray) -> np.ndarray:
    """float64 [n, classes]."""
    return np.exp(log_softmax(scaling.temperature * scores + scaling.offset))


def cross_fitted(scores: np.ndarray, y: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Probabilities [n, classes], each fold calibrated on the scores of the other folds."""
    out = np.empty_like(scores)
    for fold in np.unique(folds):
        held = folds == fold
        out[held] = probabilities(fit_scaling(scores[~held], y[~held]), scores[held])
    return out


def log_losses(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """-log p of the given class, nats, float64 [n]."""
    return -np.log(np.maximum(p[np.arange(len(y)), y], 1e-12))
