"""Class sizes."""

from __future__ import annotations

import pandas as pd


def class_sizes(images: pd.DataFrame) -> pd.Series:
    """Readable images of each class, empty classes included, largest first."""
    sizes = images[images["pixels"].notna()].groupby("label").size()
    every = images.loc[images["label"].notna(), "label"].unique()
    sizes = sizes.reindex(sorted(every), fill_value=0)
    return sizes.sort_values(ascending=False, kind="stable")
