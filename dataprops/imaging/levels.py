"""Map numbers of any range to grey levels in [0, 255]."""

from __future__ import annotations

import numpy as np

LOW, HIGH = 0.5, 99.5  # percentiles mapped to black and white


def percentile_levels(values: np.ndarray) -> tuple[float, float]:
    """The values mapped to black and white: two percentiles of the finite values, or minimum and maximum if those are equal.

    >>> percentile_levels(np.arange(1001.0))
    (5.0, 995.0)
    >>> percentile_levels(np.array([0.0] * 999 + [3.0]))
    (0.0, 3.0)
    """
    finite = np.isfinite(values)
    values = values.ravel() if finite.all() else values[finite]
    if not values.size:
        return 0.0, 0.0
    bottom, top = (float(value) for value in np.percentile(values, (LOW, HIGH)))
    return (bottom, top) if top > bottom else (float(values.min()), float(values.max()))


def to_levels(values: np.ndarray, levels: tuple[float, float]) -> np.ndarray:
    """Map linearly from `levels` to float32 in [0, 255] with clipping; black if the levels are equal.

    >>> to_levels(np.array([-1.0, 0.0, 5.0, 20.0]), (0, 10)).tolist()
    [0.0, 0.0, 127.5, 255.0]
    """
    low, high = levels
    if not high > low:
        return np.zeros(values.shape, np.float32)
    return (np.clip((values.astype(np.float64) - low) / (high - low), 0, 1) * 255).astype(np.float32)


def linear_window(values: np.ndarray, centre: float, width: float) -> np.ndarray:
    """VOILUTFunction LINEAR (DICOM PS3.3 C.11.2.1.2.1), width >= 1: float32 in [0, 255].

    >>> linear_window(np.array([-160.0, 39.5, 239.0, 500.0]), 40, 400).tolist()
    [0.0, 127.5, 255.0, 255.0]
    """
    if width == 1:
        return np.where(values > centre - 0.5, np.float32(255), np.float32(0))
    return to_levels(values, (centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2))
