"""Ridge regression on one-against-rest targets, in the dual: one matrix of inner products serves all folds and subsets.

    K = Z Z^T / features        alpha = (K_tt + l I)^-1 (Y_t - mean Y_t)        f = mean Y_t + K_st alpha

Targets are +1 for the class and -1 for others; of numbers the standardised number. The strength l is the one with the smallest
held-out square error among `STRENGTHS`. Folds must be of whole groups and stratified: leaving out single images under a strong ridge
inverts the predictions (the mean moves away from the image left out).

The factorisations are what a fit costs: of many images the strength is chosen on the first fold, and the others are solved with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from dataprops.probe.threads import in_threads

STRENGTHS = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0)
MANY = 1000  # of more images only the strengths around the best one of a half are tried, and on one fold
CLOSE = 1e-9  # residual of a refined solution, relative to the right-hand side
REFINEMENTS = 12

Fit = tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]  # scores of a fold's rows, and (alpha, mean)


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
    """As `solve`, of the rows' own inner products."""
    mean = target.mean(0)
    shift = strength * max(float(np.trace(matrix)) / len(matrix), 1e-12)
    alpha = _refined(matrix, shift, target - mean) if len(matrix) > MANY else None
    return (_solver(matrix, shift, torch.float64)(target - mean) if alpha is None else alpha), mean


def _solver(matrix: np.ndarray, shift: float, kind: torch.dtype) -> Callable[[np.ndarray], np.ndarray]:
    """Solves (matrix + shift) alpha = wanted in this precision, by one factorisation.

    By torch: scipy's factorisation holds Python's lock, so that neither other folds nor the progress bar would run meanwhile.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the matrix is not positive definite in this precision.
    """
    shifted = torch.from_numpy(matrix).to(kind, copy=True)
    shifted.diagonal().add_(shift)
    factor, failed = torch.linalg.cholesky_ex(shifted)
    if int(failed):
        raise np.linalg.LinAlgError(f"not positive definite in {kind}")
    return lambda wanted: torch.cholesky_solve(torch.from_numpy(wanted).to(kind), factor).numpy()


def _refined(matrix: np.ndarray, shift: float, wanted: np.ndarray) -> np.ndarray | None:
    """The solution to a residual of `CLOSE`, by a single-precision factorisation in half the time; None without convergence."""
    try:
        solved = _solver(matrix, shift, torch.float32)
    except np.linalg.LinAlgError:
        return None
    alpha = np.zeros_like(wanted)
    for _ in range(REFINEMENTS):
        missing = wanted - matrix @ alpha - shift * alpha
        if np.linalg.norm(missing) <= CLOSE * np.linalg.norm(wanted):
            return alpha
        alpha += solved(missing)
    return None


class _Part(NamedTuple):
    """A fold's own rows, the inner products of its training rows, those between both, and the targets of the training rows."""

    held: np.ndarray
    own: np.ndarray
    across: np.ndarray
    target: np.ndarray

    def fit(self, strength: float) -> Fit:
        """Scores of the fold's rows, and (alpha, mean)."""
        alpha, mean = _solved(self.own, self.target, strength)
        return self.across @ alpha + mean, (alpha, mean)


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

    def part(fold: int) -> _Part:
        held = np.nonzero(folds == fold)[0]
        train = np.nonzero((folds != fold) & subset)[0]
        # gathered once for all strengths
        return _Part(held, kernel[np.ix_(train, train)], kernel[np.ix_(held, train)], target[train])

    def fits(fold: int) -> tuple[np.ndarray, list[Fit]]:
        of = part(fold)
        return of.held, [of.fit(strength) for strength in strengths]

    def missed(found: list[tuple[np.ndarray, list[Fit]]]) -> np.ndarray:
        """Square error by strength."""
        return np.sum([[((fit[0] - target[held]) ** 2).sum() for fit in tried] for held, tried in found], axis=0)

    begun: list[tuple[np.ndarray, list[Fit]]] = []
    if len(strengths) > 1 and int(((folds != names[0]) & subset).sum()) > MANY:
        of = part(names[0])
        tried = in_threads(of.fit, strengths)
        best = int(np.argmin(missed([(of.held, tried)])))
        strengths, begun = (strengths[best],), [(of.held, [tried[best]])]
        del of, tried  # of 4,000 images 100 MB
    found = begun + in_threads(fits, names[len(begun) :].tolist())
    best = int(np.argmin(missed(found)))
    scores = np.empty(target.shape)
    for held, tried in found:
        scores[held] = tried[best][0]
    return HeldScores(scores, strengths[best], [tried[best][1] for _, tried in found])


def near_strengths(strength: float) -> tuple[float, ...]:
    """The neighbours of a strength, and itself."""
    at = STRENGTHS.index(strength)
    return STRENGTHS[max(0, at - 1) : at + 2]
