"""Blank images: an image-quality fault, and not evidence for any other finding."""

from __future__ import annotations

import numpy as np
import pandas as pd

BLANK_RANGE = 8  # grey levels between the 1 % and 99 % quantiles


def is_blank(images: pd.DataFrame) -> np.ndarray:
    """Whether images are blank (nearly all pixels of one grey level), bool [n]."""
    if "original_high" not in images:
        return np.zeros(len(images), bool)
    within = images["original_high"].to_numpy(float) - images["original_low"].to_numpy(float)
    return (within <= BLANK_RANGE) | (images["original_flat"].to_numpy(float) >= 0.995)
