"""Pictures that show nothing: bad pictures, and no evidence of anything else."""

from __future__ import annotations

import numpy as np
import pandas as pd

BLANK_RANGE = 8  # grey levels between the 1 % and the 99 % quantile


def is_blank(images: pd.DataFrame) -> np.ndarray:
    """Whether images show nothing: all but a few pixels of one grey level, bool [n]."""
    if "original_high" not in images:
        return np.zeros(len(images), bool)
    within = images["original_high"].to_numpy(float) - images["original_low"].to_numpy(float)
    return (within <= BLANK_RANGE) | (images["original_flat"].to_numpy(float) >= 0.995)
