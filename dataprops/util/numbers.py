"""Numbers in sentences."""

from __future__ import annotations

import math

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
