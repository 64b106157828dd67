"""Percentages in sentences, and Wilson's interval."""

from __future__ import annotations

import math
from statistics import NormalDist

NOTHING = "–"
ROUNDING = 1e-9  # tolerance for floating-point error, in percent


def percent(fraction: float | None, *, sign: bool = False) -> str:
    """Format a fraction as a percentage, with two significant digits below ten: '4.0 %', '12 %'; '–' for None and NaN.

    '0 %' and '100 %' mean none and all: values that would round to them get more digits, or '<' or '>'. With a sign it is a change,
    which may round to either.

    Examples
    --------
    >>> percent(0.00312), percent(0.041), percent(2999 / 3000), percent(3000 / 3000), percent(1e-6), percent(0.0)
    ('0.31 %', '4.1 %', '99.97 %', '100 %', '<0.01 %', '0 %')
    >>> percent(-0.041, sign=True), percent(1.5, sign=True), percent(-1e-9, sign=True)
    ('-4.1 %', '+150 %', '0 %')
    """
    if fraction is None or math.isnan(fraction):
        return NOTHING
    hundred = 100 * fraction
    size, rest = abs(hundred), 100 - hundred
    digits = 0 if size >= 9.95 else 1 if size >= 0.995 else 2
    if size < ROUNDING or (size < 0.005 and (sign or hundred < 0)):
        return "0 %"
    if not sign and size < 0.005:
        return "<0.01 %"
    if not sign and ROUNDING < rest <= 0.5:
        if rest < 0.005:
            return ">99.99 %"
        digits = 1 if rest > 0.05 else 2
    return f"{hundred:{'+' if sign else ''}.{digits}f} %"


def wilson_interval(count: float, of: float, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion (1927), in closed form to avoid an import of two seconds.

    Examples
    --------
    >>> print("{:.4f} {:.4f}".format(*wilson_interval(3, 10, 0.95)))
    0.1078 0.6032
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    p, scale = count / of, 1 + z * z / of
    half = z * math.sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    return max(0.0, (p + z * z / (2 * of) - half) / scale), min(1.0, (p + z * z / (2 * of) + half) / scale)
