"""Warnings attributed to the code that called this package."""

from __future__ import annotations

import sys
import warnings


def warn_caller(text: str) -> None:
    """Issue a UserWarning attributed to the innermost calling line outside this package."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).split(".")[0] == "dataprops":
        level, frame = level + 1, frame.f_back
    warnings.warn(text, stacklevel=level)
