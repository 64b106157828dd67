"""Display windows of scans (values mapped to black and white). No heavy imports, so that options are validated quickly.

A window is "auto", "file", "percentiles", the name of a preset (Hounsfield units), or CENTRE/WIDTH.
"""

from __future__ import annotations

import math
import re

from dataprops.errors import DatapropsError

MODES = ("auto", "file", "percentiles")
# Hounsfield units: centre, width
PRESETS: dict[str, tuple[float, float]] = {
    "soft-tissue": (40, 400),
    "lung": (-600, 1500),
    "bone": (400, 1800),
    "mediastinum": (50, 350),
    "abdomen": (50, 400),
    "liver": (30, 150),
    "brain": (40, 80),
    "subdural": (80, 200),
    "stroke": (40, 40),
}
_NUMBERS = re.compile(r"([+-]?\d+(?:\.\d+)?)/(\d+(?:\.\d+)?)")


def window_numbers(window: str) -> tuple[float, float] | None:
    """Centre and width of a preset or of CENTRE/WIDTH; None for a mode.

    Raises
    ------
    DatapropsError
        If it is none of these.

    >>> window_numbers("brain"), window_numbers("-600/1500"), window_numbers("auto")
    ((40, 80), (-600.0, 1500.0), None)
    """
    if window in MODES:
        return None
    if window in PRESETS:
        return PRESETS[window]
    match = _NUMBERS.fullmatch(window)
    if match and math.isfinite(float(match[1])) and 1 < float(match[2]) < math.inf:
        return float(match[1]), float(match[2])
    raise DatapropsError(
        f"window is {window!r}; expected {', '.join(MODES)}, a preset ({', '.join(PRESETS)}), or CENTRE/WIDTH such as"
        " 40/400 (a width above 1)"
    )


def window_key(window: str) -> str:
    """The window as part of a key; a preset and its numbers give the same one."""
    numbers = window_numbers(window)
    return window if numbers is None else "_".join(f"{number:g}" for number in numbers)
