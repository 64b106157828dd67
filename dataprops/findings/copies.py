"""Images with identical canonical pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from dataprops.findings.blank import is_blank


def duplicate_groups(images: pd.DataFrame) -> Iterator[np.ndarray]:
    """Ids of each group of images with identical canonical pixels, by first image; blank images last, since they are poor examples."""
    readable = images[images["duplicate_of"] >= 0].assign(blank=is_blank)
    repeated = readable[readable["duplicate_of"].duplicated(keep=False)]
    for _, members in repeated.groupby(["blank", "duplicate_of"], sort=True)["image"]:
        yield members.to_numpy()
