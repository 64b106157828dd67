"""Classifiers that tell a dataset's images from their own changed copies: kernel ridge regression with scores out of fold.

`upright` learns from turned and inverted copies, `tones` from spoilt ones. Images that are themselves as the copies are would support
each other in training, so those in doubt after a first fit are excluded.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

LEAST = 20  # minimum training images
WIDTH = 0.2  # exponent of the Gaussian kernel at the median squared distance
STRENGTH = 0.1  # ridge penalty
DOUBTED = 0.1  # fraction excluded from training
FOLDS = 5
AT_ONCE, BATCH = 64, 1024  # images described, and scored, per step

# scores of the images `test` (positions) by a classifier of the images `train` (bool)
Scores = Callable[[np.ndarray, np.ndarray], np.ndarray]


def drawn(learnt: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """At most so many of the images that may be used for training, bool [n], in random order; fewer than `LEAST` are none."""
    known = rng.permutation(np.nonzero(learnt)[0])[:most]
    return known if len(known) >= LEAST else known[:0]


def squares(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Squared distances of rows [m, d] and [n, d]: [m, n]."""
    both = (one * one).sum(1)[:, None] + (other * other).sum(1) - 2 * one @ other.T
    return np.maximum(both, 0.0)


def width_of(some: np.ndarray) -> float:
    """Exponent of the Gaussian kernel per squared distance, for rows like these."""
    return WIDTH / max(float(np.median(squares(some, some))), 1e-12)


def fitted(kernel: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Weights of a ridge regression to `goal`, float64."""
    return np.linalg.solve(kernel.astype(np.float64) + STRENGTH * np.eye(len(kernel)), goal)


def out_of_fold(n: int, scores: Scores, sure_of: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Scores float64 [n] of training images in random order, each by a classifier of other folds, and which are sure, bool [n].

    `sure_of` tells the latter from the scores; the others are excluded from the second and last round.
    """
    folds, sure, held = np.arange(n) % FOLDS, np.ones(n, bool), np.empty(n)
    for _ in range(2):
        for fold in range(FOLDS):
            test = np.nonzero(folds == fold)[0]
            held[test] = scores((folds != fold) & sure, test)
        sure = sure_of(held)
    return held, sure
