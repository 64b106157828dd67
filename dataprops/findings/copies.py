"""Images with the same canonical pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd


def duplicate_groups(images: pd.DataFrame) -> Iterator[np.ndarray]:
    """Ids of each set of two or more images with the same canonical pixels, by first image."""
    readable = images[images["duplicate_of"] >= 0]
    repeated = readable[readable["duplicate_of"].duplicated(keep=False)]
    for _, members in repeated.groupby("duplicate_of", sort=True)["image"]:
        yield members.to_numpy()
