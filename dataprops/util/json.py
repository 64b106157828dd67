"""Strict JSON."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np


def finite(value: Any) -> float | None:
    """A number that JSON can hold, or None."""
    return float(value) if value is not None and math.isfinite(value) else None


def to_json(summary: dict[str, Any]) -> str:
    """Strict JSON: what is no finite number becomes null."""

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): clean(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [clean(item) for item in value]
        if isinstance(value, float | np.floating):
            return finite(value)
        return value.item() if isinstance(value, np.generic) else value

    return json.dumps(clean(summary), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
