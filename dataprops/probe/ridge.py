"""Ridge regression on one-against-rest targets, in the dual: one matrix of inner products serves all folds and subsets.

    K = Z Z^T / features        alpha = (K_tt + l I)^-1 (Y_t - mean Y_t)        f = mean Y_t + K_st alpha

Targets are +1 for the class and -1 for others; of numbers the standardised number. The strength l is the one with the smallest
held-out square error among `STRENGTHS`. Folds must be of whole groups and stratified: leaving out single images under a strong ridge
inverts the predictions (the mean moves away from the image left out).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dataprops.probe.threads import in_threads

STRENGTHS = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0)
MANY = 1500  # of more images only the strengths around the best one of a half are tried


class HeldScores(NamedTuple):
    """Scores of images by a fit that has not seen them.

    Attributes
    ----------
    scores : float64 [n, outputs]
    strength : float
    fits : list of (alpha [train, outputs], mean [outputs])
        Of each fold, in order, at that strength.
    """

    scores: np.ndarray
    strength: float
    fits: list[tuple[np.ndarray, np.ndarray]]


def targets(y: np.ndarray, classes: int) -> np.ndarray:
    """-1 and +1, float64 [n, classes]."""
    return 2.0 * (y[:, None] == np.arange(classes)) - 1.0


def inner_products(features: np.ndarray) -> np.ndarray:
    """float64 [n, n] of float32 features [n, p], divided by p."""
    z = np.ascontiguousarray(features, np.float32)
    return (z @ z.T).astype(np.float64) / max(1, z.shape[1])


def gaussian(kernel: np.ndarray) -> np.ndarray:
    """exp(-d^2 / median d^2), float64 [n, n], of inner products [n, n]; d is the distance of the features."""
    square = np.diagonal(kernel)
    apart = -2 * kernel  # in place from here: of 4,000 images it is 128 MB
    apart += square[:, None]
    apart += square
    np.maximum(apart, 0.0, out=apart)
    few = apart[:: max(1, len(apart) // 500)]  # rows that the median is taken of
    apart /= -max(float(np.median(few)), 1e-12)
    return np.exp(apart, out=apart)


def solve(kernel: np.ndarray, train: np.ndarray, target: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """(alpha [train, outputs], mean [outputs]) of a fit to these rows."""
    return _solved(kernel[np.ix_(train, train)], target[train], strength)


def _solved(matrix: np.ndarray, target: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """As `solve`, of the rows' own inner products, which are overwritten."""
    from scipy.linalg import cho_factor, cho_solve

    mean = target.mean(0)
    matrix[np.diag_indices(len(matrix))] += strength * max(float(np.trace(matrix)) / len(matrix), 1e-12)
    # symmetric, so its transpose is itself, and in LAPACK's order: no copy is made
    factor = cho_factor(matrix.T, lower=True, overwrite_a=True, check_finite=False)
    return cho_solve(factor, target - mean, check_finite=False), mean


def held_scores(
    kernel: np.ndarray,
    target: np.ndarray,
    folds: np.ndarray,
    subset: np.ndarray | None = None,
    strengths: tuple[float, ...] = STRENGTHS,
) -> HeldScores:
    """Scores of every image by a fit to the other folds' images that are in `subset` (bool [n], all by default)."""
    subset = np.ones(len(target), bool) if subset is None else subset
    names = np.unique(folds)

    def fold_alone(fold: int) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray], np.ndarray]:
        held = np.nonzero(folds == fold)[0]
        train = np.nonzero((folds != fold) & subset)[0]
        # gathered once: that takes as long as the factorisation
        own, across, wanted = kernel[np.ix_(train, train)], kernel[np.ix_(held, train)], target[train]
        mean = wanted.mean(0)
        alphas = [_solved(own.copy(), wanted, strength)[0] for strength in strengths]
        return held, [across @ alpha + mean for alpha in alphas], alphas, mean

    found = in_threads(fold_alone, names.tolist())
    scores = np.empty((len(strengths), *target.shape))
    for held, tried, _, _ in found:
        scores[:, held] = tried
    best = int(np.argmin([((tried - target) ** 2).mean() for tried in scores]))
    return HeldScores(scores[best], strengths[best], [(alphas[best], mean) for _, _, alphas, mean in found])


def near_strengths(strength: float) -> tuple[float, ...]:
    """The neighbours of a strength, and itself."""
    at = STRENGTHS.index(strength)
    return STRENGTHS[max(0, at - 1) : at + 2]
