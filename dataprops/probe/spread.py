"""How far held-out means differ from sample to sample, over what the images that are tested tell of it.

A mean of held-out losses has two kinds of luck: that of the images tested, and that of the images trained on. Leak groups drawn with
replacement see the first alone, which leaves intervals of cross-validation too narrow (Bates, Hastie & Tibshirani [2]_). Nadeau &
Bengio [1]_ take the losses of two folds as correlated by the share of the images that a fold tests, and multiply the variance by
1 + K n_test / n_train; with K folds of one size that is

    ratio^2 = 1 + K / (K - 1)

1.45 with ten folds, 1.5 with five. Halves of a set with fits of their own (subsampling) tell nearly as much once each half chooses
its strength and is calibrated as the whole is, and 1.15 to 1.35 with the whole's strength: too little, as counted. Coverage stands in
tests/benchmarks/coverage.md.

References
----------
.. [1] C. Nadeau, Y. Bengio, Inference for the Generalization Error, Machine Learning 52 (2003), section 5.
.. [2] S. Bates, T. Hastie, R. Tibshirani, Cross-validation: what does it estimate and how well does it do it?, JASA 119 (2024).
"""

from __future__ import annotations

import math


def training_ratio(folds: int) -> float:
    """Factor of the half width of a mean over images that were held out in so many folds, at least two.

    Examples
    --------
    >>> round(training_ratio(10), 3), training_ratio(5)
    (1.453, 1.5)
    """
    return math.sqrt(1 + folds / (folds - 1))
