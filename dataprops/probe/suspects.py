"""Labels that a classifier which has not seen them doubts: confident learning (Northcutt et al. 2021, cleanlab's method).

The threshold of a class is the mean probability that images given this class have for it. An image is suspect where its most
probable class among those over their threshold is another than the given one. Suspects are ordered by
p(likelier) - p(given), the most suspect first.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Suspects(NamedTuple):
    """Suspect labels, the most suspect first.

    Attributes
    ----------
    image : int64 [s]
    likelier : int64 [s]
        Class that the classifier holds for more likely.
    score : float64 [s]
        p(likelier) - p(given), 0 to 1.
    """

    image: np.ndarray
    likelier: np.ndarray
    score: np.ndarray


def suspect_labels(p: np.ndarray, y: np.ndarray) -> Suspects:
    """Suspects among images with held-out probabilities float64 [n, classes] and given classes int64 [n]."""
    classes = p.shape[1]
    threshold = np.array([p[y == c, c].mean() if (y == c).any() else np.inf for c in range(classes)])
    over = p >= threshold - 1e-6
    confident = np.where(over, p, -1.0).argmax(1)
    image = np.nonzero(over.any(1) & (confident != y))[0]
    likelier = confident[image]
    score = p[image, likelier] - p[image, y[image]]
    # a given class with a high threshold may still be the more probable one: then nothing is suspect
    order = np.argsort(-score, kind="stable")
    order = order[score[order] > 0]
    return Suspects(image[order], likelier[order], score[order])
