"""Chances of counts, without scipy.stats, whose import takes longer (half a second of a core) than all that is asked of it here."""

from __future__ import annotations

import numpy as np


def as_many(hits: int, population: int, marked: int, drawn: int) -> float:
    """The chance of at least so many marked ones among those drawn without replacement: the upper tail of the hypergeometric law.

    Parameters
    ----------
    hits : int
        Marked ones among the drawn.
    population, marked, drawn : int
        How many there are, how many of them are marked, and how many are drawn.

    Returns
    -------
    float
        Within 1e-8 of its value, relative to it, up to populations of a million.
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
