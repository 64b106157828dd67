"""Classes and folds of the images that the reference classifier is trained on, from the table of images."""

from __future__ import annotations

import numpy as np
import pandas as pd


def grouped_by(images: pd.DataFrame) -> str:
    """How folds are grouped, besides copies: by "group" (patient) or "image"."""
    return "group" if images["group"].notna().any() else "image"


def codes_of(images: pd.DataFrame) -> tuple[list[str], np.ndarray]:
    """Class names, and the class index of each image, int64 [n]."""
    names, y = np.unique(images["label"].astype(str).to_numpy(object), return_inverse=True)
    return [str(name) for name in names], y.astype(np.int64)
