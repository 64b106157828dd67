"""How far held-out means differ from sample to sample, over what the images that are tested tell of it.

A mean of held-out losses has two kinds of luck: that of the images tested, and that of the images trained on. Leak groups drawn with
replacement see the first alone, which leaves intervals of cross-validation too narrow (Bates, Hastie & Tibshirani [2]_). Nadeau &
Bengio [1]_ take the losses of two folds as correlated by the share of the images that a fold tests, and multiply the variance by
1 + K n_test / n_train, with K folds of one size 1 + K / (K - 1). That is right where a linear model holds, and too much on real
images: disjoint samples of five sets (tests/benchmarks/coverage.md) differ by seven tenths of the second term,

    ratio^2 = 1 + 0.7 K / (K - 1)

1.33 with ten folds, 1.37 with five. Halves of a set with fits of their own (subsampling) tell 1.4 once each half chooses its strength
and is calibrated as the whole is, at the cost of 24 choices of a strength, and too little without that.

References
----------
.. [1] C. Nadeau, Y. Bengio, Inference for the Generalization Error, Machine Learning 52 (2003), section 5.
.. [2] S. Bates, T. Hastie, R. Tibshirani, Cross-validation: what does it estimate and how well does it do it?, JASA 119 (2024).
"""

from __future__ import annotations

import math

COUNTED = 0.7  # of Nadeau & Bengio's term


def training_ratio(folds: int) -> float:
    """Factor of the half width of a mean over images that were held out in so many folds, at least two.

    Examples
    --------
    >>> round(training_ratio(10), 2), round(training_ratio(5), 2)
    (1.33, 1.37)
    """
    return math.sqrt(1 + COUNTED * folds / (folds - 1))
