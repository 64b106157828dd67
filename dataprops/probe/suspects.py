"""Suspect labels by confident learning on held-out probabilities (Northcutt et al. 2021, cleanlab's method).

The threshold of a class is its mean probability over the images labelled with it. An image is suspect if its most probable class
among those above their thresholds is not the given one. Suspects are sorted by p(likelier) - p(given), largest first.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Suspects(NamedTuple):
    """Suspect labels, most suspect first.

    Attributes
    ----------
    image : int64 [s]
    likelier : int64 [s]
        Class that the classifier considers more likely.
    score : float64 [s]
        p(likelier) - p(given), 0 to 1.
    """

    image: np.ndarray
    likelier: np.ndarray
    score: np.ndarray


def suspect_labels(p: np.ndarray, y: np.ndarray) -> Suspects:
    """Find suspects from held-out probabilities float64 [n, classes] and given classes int64 [n]."""
    classes = p.shape[1]
    threshold = np.array([p[y == c, c].mean() if (y == c).any() else np.inf for c in range(classes)])
    over = p >= threshold - 1e-6
    confident = np.where(over, p, -1.0).argmax(1)
    image = np.nonzero(over.any(1) & (confident != y))[0]
    likelier = confident[image]
    score = p[image, likelier] - p[image, y[image]]
    # the given class may be below its high threshold and still be more probable: then the label is not suspect
    order = np.argsort(-score, kind="stable")
    order = order[score[order] > 0]
    return Suspects(image[order], likelier[order], score[order])
