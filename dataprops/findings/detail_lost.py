"""Images that have the same path as in the previous audit, but less detail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from dataprops.findings.check import Check
from dataprops.findings.context import Context
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row, or_none, quoted

SIDE = 0.7  # side (square root of the pixel count) relative to before, below which an image has lost resolution
SHARPER = 0.25, 0.02  # focus of a heavily blurred image; offset that keeps the logarithm finite
OCTAVES = 1.0  # minimum loss of focus at the same size
COLUMNS = ("width", "height", "original_focus")


def lost_detail(before: pd.DataFrame, after: pd.DataFrame) -> np.ndarray:
    """Octaves of detail that each image lost, float64 [n]; 0 if the loss is negligible.

    Parameters
    ----------
    before, after : DataFrame
        `COLUMNS` of the same images, row by row. A smaller image lost the octaves of its side; one of about the same size lost the
        drop of its focus above that of a heavy blur.
    """
    sides = [np.sqrt(t["width"].to_numpy(float) * t["height"].to_numpy(float)) for t in (before, after)]
    ratio = sides[1] / np.maximum(sides[0], 1)
    blur, least = SHARPER
    fine = [np.log2(np.maximum(t["original_focus"].to_numpy(float) - blur, 0) + least) for t in (before, after)]
    fall = np.nan_to_num(fine[0] - fine[1])
    blurred = (np.abs(np.log(np.maximum(ratio, 1e-9))) < -np.log(SIDE)) & (fall >= OCTAVES)
    smaller = (ratio <= SIDE) & (ratio > 0)
    return np.where(smaller, -np.log2(np.maximum(ratio, 1e-9)), np.where(blurred, fall, 0.0))


def find(context: Context) -> Iterator[Row]:
    """One row per image, largest loss first; its value is the loss in octaves."""
    if context.since is None or context.since.detail is None:
        return
    path = or_none(context.images["path"])
    rows: Any = context.since.detail.sort_values(["lost", "image"], ascending=[False, True]).itertuples()
    for row in rows:
        image = int(row.image)
        sizes = f"{row.width} x {row.height} pixels, {row.width_before} x {row.height_before} in the previous audit"
        told = f"has {sizes}"
        if np.sqrt(row.width * row.height) / max(np.sqrt(row.width_before * row.height_before), 1) > SIDE:
            told = f"is blurred: focus {row.original_focus:.2f}, {row.original_focus_before:.2f} in the previous audit"
        yield (image,), float(row.lost), f"{quoted(path[image])} {told}."


def measures(context: Context) -> dict[str, float]:
    """detail_lost_share: fraction with less detail, of the images whose path was in the previous audit."""
    since = context.since
    if since is None or since.detail is None or not since.paired:
        return {}
    return {"detail_lost_share": len(since.detail) / since.paired}


FINDING = Finding(
    name="detail_lost",
    severity="info",
    title="Detail lost since the previous audit",
    explanation=(
        "These files kept their names since the previous audit, but have fewer pixels or a blurred picture: exported again"
        " at a lower resolution, or compressed. Restore the earlier files if that was not intended: the detail that shows"
        " the class may be lost."
    ),
    find=find,
    measures=measures,
    checks=(
        Check(
            name="detail_lost",
            measure="detail_lost_share",
            max=0.01,
            severity="warning",
            title="pictures keep their detail",
            sentence=(
                "{value:share} of the pictures that the previous audit had under the same name have lost detail: fewer pixels, or a"
                " blurred picture (at most {threshold:share} is tolerated)."
            ),
            reason="an unchanged file loses nothing, so more than a few mean that an export went wrong: chosen",
        ),
    ),
    shown="images",
)
