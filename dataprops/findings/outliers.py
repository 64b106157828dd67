"""Images far from all others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from dataprops.findings.check import Check
from dataprops.findings.context import Context
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row, quoted

LEAST_FOR_OUTLIERS = 20
FENCE = 3.0  # interquartile ranges of the log distance above the third quartile


def outlier_images(images: pd.DataFrame) -> pd.DataFrame:
    """Distinct images unusually far from their neighbours: image, ratio of its k-th neighbour distance to the median.

    Criterion: Tukey's outer fence on the logarithm of that distance.
    """
    distinct = images[(images["duplicate_of"] == images["image"]) & (images["knn_distance"] > 0)]
    if len(distinct) < LEAST_FOR_OUTLIERS:
        return pd.DataFrame({"image": [], "ratio": []})
    logs = np.log(distinct["knn_distance"].to_numpy())
    low, middle, high = np.quantile(logs, [0.25, 0.5, 0.75])
    far = logs > high + FENCE * (high - low)
    if high == low:
        far[:] = False
    return pd.DataFrame({"image": distinct["image"].to_numpy()[far], "ratio": np.exp(logs[far] - middle)})


def find(context: Context) -> Iterator[Row]:
    """One row per distinct outlier, farthest first; its value is that ratio."""
    images = context.images
    found = outlier_images(images).sort_values(["ratio", "image"], ascending=[False, True])
    if found.empty:
        return
    readable = images[images["duplicate_of"].isin(found["image"])]
    parts: Any = readable.groupby("duplicate_of")
    copies = {int(first): part["image"].to_numpy() for first, part in parts}
    path = images["path"].to_numpy(object)
    for image, ratio in found.itertuples(index=False):
        yield (
            copies[int(image)],
            ratio,
            f"{quoted(path[int(image)])} is {ratio:.1f} times as far from its neighbours as the typical image.",
        )


def measures(context: Context) -> dict[str, float]:
    """outlier_share: fraction of readable images that are outliers or copies of one."""
    images = context.images
    readable = images[images["pixels"].notna()]
    if not len(readable):
        return {}
    return {"outlier_share": float(readable["duplicate_of"].isin(outlier_images(images)["image"]).mean())}


FINDING = Finding(
    name="outliers",
    severity="info",
    title="Outliers",
    explanation="These images are far from all others: check whether they belong to the dataset.",
    find=find,
    measures=measures,
    checks=(
        Check(
            name="outliers",
            measure="outlier_share",
            max=0.01,
            severity="warning",
            title="few outliers",
            sentence=(
                "{value:share} of the images are far from all others (at most {threshold:share} are tolerated): check "
                "whether they belong to the dataset."
            ),
            reason=(
                "almost no image of a regular dataset is beyond Tukey's outer fence; one in a hundred is a batch of "
                "something else"
            ),
        ),
    ),
    shown="images",
)
