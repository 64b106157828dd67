"""Numbers in sentences, and an interval that they tell."""

from __future__ import annotations

import math
from statistics import NormalDist

NOTHING = "–"


def percent(fraction: float | None, *, sign: bool = False) -> str:
    """A fraction as people read it, to two digits below ten: '-4.0 %', '12 %', '0 %', and '–' for None and NaN.

    Examples
    --------
    >>> percent(0.00312), percent(-0.041, sign=True), percent(1.5, sign=True), percent(-1e-9, sign=True)
    ('0.31 %', '-4.1 %', '+150 %', '0 %')
    """
    if fraction is None or math.isnan(fraction):
        return NOTHING
    hundred = 100 * fraction
    size = abs(hundred)
    if size < 0.005:
        return "0 %"
    digits = 0 if size >= 9.95 else 1 if size >= 0.995 else 2
    return f"{hundred:{'+' if sign else ''}.{digits}f} %"


def wilson_interval(count: int, of: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share (1927). In closed form: the library that has it takes two seconds to import.

    Examples
    --------
    >>> print("{:.4f} {:.4f}".format(*wilson_interval(3, 10, 0.95)))
    0.1078 0.6032
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    p, scale = count / of, 1 + z * z / of
    half = z * math.sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    return max(0.0, (p + z * z / (2 * of) - half) / scale), min(1.0, (p + z * z / (2 * of) + half) / scale)
