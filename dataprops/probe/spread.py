"""Correction of cross-validation intervals for training-set variance.

A mean of held-out losses varies with the test images and with the training images. The bootstrap over leak groups covers only the
former, so cross-validation intervals are too narrow (Bates, Hastie & Tibshirani [2]_). Nadeau & Bengio [1]_ assume a correlation
between the losses of two folds equal to the fraction of images tested per fold, and multiply the variance by 1 + K n_test / n_train,
which for K equal folds is 1 + K / (K - 1). That is right for a linear model, and too large on real images: between disjoint samples of
five sets (tests/benchmarks/coverage.md) 0.7 of the second term was observed,

    ratio^2 = 1 + 0.7 K / (K - 1)

which is 1.33 with ten folds and 1.37 with five. Subsampling (separate fits to halves of a set) gives 1.4 if each half also selects its
strength and is calibrated like the whole, at the cost of 24 strength searches, and too little otherwise.

References
----------
.. [1] C. Nadeau, Y. Bengio, Inference for the Generalization Error, Machine Learning 52 (2003), section 5.
.. [2] S. Bates, T. Hastie, R. Tibshirani, Cross-validation: what does it estimate and how well does it do it?, JASA 119 (2024).
"""

from __future__ import annotations

import math

COUNTED = 0.7  # measured fraction of Nadeau & Bengio's term


def training_ratio(folds: int) -> float:
    """Factor of the half width of a mean of held-out losses with `folds` (>= 2) folds.

    Examples
    --------
    >>> round(training_ratio(10), 2), round(training_ratio(5), 2)
    (1.33, 1.37)
    """
    return math.sqrt(1 + COUNTED * folds / (folds - 1))
