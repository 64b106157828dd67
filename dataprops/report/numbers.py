"""Formatting of numbers for people."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dataprops.util.numbers import NOTHING, percent

__all__ = ["NOTHING", "how_compared", "largest_sharpness", "number", "percent", "plus_minus", "raised", "sample_of"]

NO_SPREAD = 1e-9  # relative spread below which it is rounding error
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def raised(power: int) -> str:
    """-4 -> '⁻⁴'."""
    return str(power).translate(_RAISED)


def number(value: float | None, digits: int = 3) -> str:
    """6.37e-4 -> '6.37 × 10⁻⁴', 1234.5 -> '1,234', None and NaN -> '–'."""
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    exponent = math.floor(math.log10(abs(value)))
    if exponent < -2:
        return f"{value / 10**exponent:.{digits - 1}f} × 10{str(exponent).translate(_RAISED)}"
    if exponent >= digits:
        return f"{value:,.0f}"
    return f"{value:.{max(0, digits - 1 - exponent)}f}"


def plus_minus(value: float | None, se: float | None) -> str:
    """'20.8 ± 0.13'; only the value if the error is missing or zero.

    >>> plus_minus(20.81, 0.13), plus_minus(0.484, 1.7e-16)
    ('20.81 ± 0.13', '0.484')
    """
    if value is None or se is None or math.isnan(value) or math.isnan(se) or se <= NO_SPREAD * abs(value):
        return number(value)
    exponent = math.floor(math.log10(se))
    if exponent >= -2 and (abs(value) >= 0.01 or abs(value) < se):
        places = max(0, 1 - exponent)
        return f"{value:.{places}f} ± {se:.{places}f}"
    top = math.floor(math.log10(max(abs(value), se)))
    places = max(0, top - exponent + 1)
    power = str(top).translate(_RAISED)
    return f"({value / 10**top:.{places}f} ± {se / 10**top:.{places}f}) × 10{power}"


def largest_sharpness(summary: Mapping[str, Any]) -> str:
    """The label sharpness over all pairs, or 'at least' its value in a sample of pairs."""
    sharp = summary["label_sharpness"]
    least = sharp.get("at_least")
    return number(sharp["all_pairs"]) if least is None else f"at least {number(least)}"


def how_compared(summary: dict[str, Any]) -> str:
    """A note if only a sample of pairs was compared; otherwise empty."""
    sampled = summary.get("sampled")
    if sampled is None:
        return ""
    return (
        f"Estimated: a random sample of {sampled['anchors']:,} images was compared with all {sampled['of']:,} distinct ones."
        " Near-identical pairs, outliers and sharpest pairs are from the sample only."
    )


def sample_of(summary: dict[str, Any]) -> dict[str, Any]:
    """The label sharpness of random samples: mean, std, m, draws."""
    return summary["label_sharpness"]["sample"]
