"""Images that differ by hardly visible amounts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from dataprops.findings.check import Check
from dataprops.findings.context import Context
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row, quoted


def find(context: Context) -> Iterator[Row]:
    """One row for each near-identical pair of distinct images; its value is the distance."""
    images = context.images
    path = images["path"].to_numpy(object)
    for a, b, distance in context.near[["a", "b", "distance"]].itertuples(index=False):
        rms = distance / np.sqrt(context.features)
        yield (
            (a, b),
            distance,
            f"{quoted(path[a])} and {quoted(path[b])} differ by {rms:.2f} grey levels on average (RMS).",
        )


def measures(context: Context) -> dict[str, float]:
    """near_duplicate_share: readable images with a near-identical twin; near_pairs: pairs in all, listed or not."""
    readable = context.images[context.images["pixels"].notna()]
    if not len(readable):
        return {}
    in_pair = readable["duplicate_of"].isin(pd.unique(context.near[["a", "b"]].to_numpy().ravel()))
    count = len(context.near) if context.near_count is None else context.near_count
    return {"near_duplicate_share": float(in_pair.mean()), "near_pairs": float(count)}


FINDING = Finding(
    name="near_duplicates",
    severity="info",
    title="Near-identical images",
    explanation=(
        "These pictures differ by hardly visible amounts: repeated exposures, re-encoded copies or neighbouring slices."
    ),
    find=find,
    measures=measures,
    checks=(
        Check(
            name="near_duplicates",
            measure="near_duplicate_share",
            max=0.05,
            severity="warning",
            title="few near-identical images",
            sentence=(
                "{value:share} of the images have a nearly identical twin (at most {threshold:share} are tolerated): "
                "there is less in this set than its size says."
            ),
            reason=(
                "neighbouring slices and repeated exposures are usual; one image in twenty makes the set smaller than"
                " it looks"
            ),
        ),
    ),
    shown="pairs",
)
