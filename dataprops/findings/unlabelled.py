"""Images without a label, in a dataset with labels."""

from __future__ import annotations

from collections.abc import Iterator

from dataprops.findings.check import Check
from dataprops.findings.context import Context
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row, quoted


def find(context: Context) -> Iterator[Row]:
    """One row per image without a label, if others have one."""
    images = context.images
    missing = images["y"].isna()
    if context.kind == "none" or not missing.any():
        return
    for image, path in images.loc[missing, ["image", "path"]].itertuples(index=False):
        yield (image,), 0.0, f"{quoted(path)} has no label."


def measures(context: Context) -> dict[str, float]:
    """unlabelled_share: fraction of all images, if there are labels."""
    return {} if context.kind == "none" else {"unlabelled_share": float(context.images["y"].isna().mean())}


FINDING = Finding(
    name="unlabelled",
    severity="warning",
    title="Images without a label",
    explanation=(
        "These images have no label while others have one. They count for the dimension, not for the sharpness."
    ),
    find=find,
    measures=measures,
    checks=(
        Check(
            name="unlabelled",
            measure="unlabelled_share",
            max=0,
            severity="warning",
            title="every image has a label",
            sentence="{value:share} of the images have no label.",
            reason="where labels are given, a missing one was forgotten",
        ),
    ),
    shown="images",
)
