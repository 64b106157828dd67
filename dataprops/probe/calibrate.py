"""From scores to probabilities: one temperature and one offset for each class, fitted to held-out scores by maximum likelihood.

With two classes that is Platt's scaling [1]_. Targets are smoothed as he does, so that a set without a single held-out error has
finite probabilities. Probabilities of a fold come from the other folds' scores.

References
----------
.. [1] J. Platt, Probabilistic Outputs for Support Vector Machines, 1999.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

RIDGE = 1e-3  # on offsets, which are determined up to a common constant


class Scaling(NamedTuple):
    """logits = temperature * scores + offset; float, float64 [classes]."""

    temperature: float
    offset: np.ndarray


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Rows of logarithms of probabilities."""
    shifted = logits - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def fit_scaling(scores: np.ndarray, y: np.ndarray) -> Scaling:
    """Temperature (at least 0) and offsets for scores float64 [n, classes] and classes int64 [n]."""
    from scipy.optimize import minimize

    n, classes = scores.shape
    counts = np.bincount(y, minlength=classes)
    wanted = np.zeros((n, classes))
    wanted[np.arange(n), y] = 1.0
    # Platt's (n_c + 1) / (n_c + 2) for the class itself; the rest is shared by the others
    right = ((counts + 1) / (counts + 2))[y]
    wanted = wanted * right[:, None] + (1 - wanted) * ((1 - right) / max(1, classes - 1))[:, None]

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        temperature, offset = parameters[0], parameters[1:]
        logs = log_softmax(temperature * scores + offset)
        gap = (np.exp(logs) - wanted) / n
        value = -float((wanted * logs).sum()) / n + RIDGE / 2 * float(offset @ offset)
        return value, np.concatenate([[float((gap * scores).sum())], gap.sum(0) + RIDGE * offset])

    start = np.concatenate([[2.0], np.zeros(classes)])
    bounds = [(0.0, 50.0)] + [(-20.0, 20.0)] * classes
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return Scaling(float(found.x[0]), found.x[1:])


def probabilities(scaling: Scaling, scores: np.ndarray) -> np.ndarray:
    """float64 [n, classes]."""
    return np.exp(log_softmax(scaling.temperature * scores + scaling.offset))


def cross_fitted(scores: np.ndarray, y: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Probabilities [n, classes] of each fold by the scaling of the other folds' scores."""
    out = np.empty_like(scores)
    for fold in np.unique(folds):
        held = folds == fold
        out[held] = probabilities(fit_scaling(scores[~held], y[~held]), scores[held])
    return out


def log_losses(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """-log of the probability of the given class, nats, float64 [n]."""
    return -np.log(np.maximum(p[np.arange(len(y)), y], 1e-12))
