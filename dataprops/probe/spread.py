"""How far held-out means differ from sample to sample, over what the images that are tested tell of it.

A mean of held-out losses has two kinds of luck: that of the images tested, and that of the images trained on. Leak groups drawn with
replacement see the first alone, which leaves intervals of cross-validation too narrow (Nadeau & Bengio [1]_, Bates, Hastie &
Tibshirani [2]_), by a factor that depends on the set. Two halves of the set, each with fits of its own, differ by both
(subsampling, [3]_):

    ratio^2 = mean over halves (mean loss of A - mean loss of B)^2 / mean over halves (variance of A's + of B's by leak groups)

It is taken of at most `MOST` images, and carried over to larger sets, whose training matters less. Counted coverage stands in
tests/benchmarks/coverage.md.

References
----------
.. [1] C. Nadeau, Y. Bengio, Inference for the Generalization Error, Machine Learning 52 (2003).
.. [2] S. Bates, T. Hastie, R. Tibshirani, Cross-validation: what does it estimate and how well does it do it?, JASA 119 (2024).
.. [3] D. N. Politis, J. P. Romano, M. Wolf, Subsampling (1999), chapter 3.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dataprops.probe.calibrate import fit_scaling, log_losses, probabilities
from dataprops.probe.ridge import held_scores

HALVES = 12
MOST = 600  # images that are halved
LEAST = 20  # leak groups: halves of fewer tell nothing
BOUNDS = (1.0, 2.0)  # of the ratio, which twelve halves tell within 0.2


class Fitted(NamedTuple):
    """A fit that is judged.

    Attributes
    ----------
    kernel, target : float64 [n, n], [n, outputs]
        Of `ridge.held_scores`.
    y : int64 [n] or None
        Classes; None for numbers.
    leak_group, folds : int64 [n]
    strength : float
    """

    kernel: np.ndarray
    target: np.ndarray
    y: np.ndarray | None
    leak_group: np.ndarray
    folds: np.ndarray
    strength: float


def spread_ratios(fit: Fitted, seed: int) -> np.ndarray:
    """Factors of the half widths of the held-out means, float64 [kinds]: of error and log loss, or of the square error of numbers."""
    rng = np.random.default_rng([seed, 19])
    names, group = np.unique(fit.leak_group, return_inverse=True)
    kinds = 1 if fit.y is None else 2
    if len(names) < LEAST:
        return np.ones(kinds)
    chosen = rng.permutation(len(names))
    if len(group) > MOST:  # whole leak groups, till there are enough images
        chosen = chosen[: int(np.searchsorted(np.cumsum(np.bincount(group)[chosen]), MOST)) + 1]
    apart, tested = np.zeros(kinds), np.zeros(kinds)
    for _ in range(HALVES):
        drawn = rng.permutation(chosen)
        halves = [np.nonzero(np.isin(group, part))[0] for part in np.array_split(drawn, 2)]
        if all(len(np.unique(fit.folds[part])) > 1 for part in halves):
            losses = [_losses(fit, part) for part in halves]
            apart += (losses[0].mean(0) - losses[1].mean(0)) ** 2
            tested += sum(_variance(of, group[part]) for of, part in zip(losses, halves, strict=True))
    return np.clip(np.sqrt(apart / np.where(tested > 0, tested, np.inf)), *BOUNDS)


def _losses(fit: Fitted, part: np.ndarray) -> np.ndarray:
    """Held-out losses [p, kinds] of some images by fits to these alone, in the folds that they have."""
    kernel, target = fit.kernel[np.ix_(part, part)], fit.target[part]
    scores = held_scores(kernel, target, fit.folds[part], strengths=(fit.strength,)).scores
    if fit.y is None:
        return (scores - target) ** 2
    y = fit.y[part]
    p = probabilities(fit_scaling(scores, y), scores)
    return np.stack([(p.argmax(1) != y).astype(float), log_losses(p, y)], axis=1)


def _variance(losses: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Variance of the means of losses [p, kinds] where leak groups are drawn, float64 [kinds]."""
    _, code = np.unique(group, return_inverse=True)
    sums = np.zeros((int(code.max()) + 1, losses.shape[1]))
    np.add.at(sums, code, losses - losses.mean(0))
    return (sums**2).sum(0) / len(losses) ** 2
