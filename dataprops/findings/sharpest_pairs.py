"""The most similar images with different labels."""

from __future__ import annotations

from collections.abc import Iterator

from dataprops.findings.context import Context
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row, quoted
from dataprops.findings.sides import suspect_side


def find(context: Context) -> Iterator[Row]:
    """One row per sharpest pair; its value is the sharpness."""
    images = context.images
    side = suspect_side(context)
    label, path = images["label"].to_numpy(object), images["path"].to_numpy(object)
    for a, b, distance, sharpness in context.sharpest[["a", "b", "distance", "sharpness"]].itertuples(index=False):
        yield (
            (a, b),
            sharpness,
            f"{quoted(path[a])} ({label[a]}) and {quoted(path[b])} ({label[b]}) are {distance:,.0f} grey levels apart:"
            f" sharpness {sharpness:.3g}.{side(int(a), int(b))}",
        )


FINDING = Finding(
    name="sharpest_pairs",
    severity="info",
    title="Sharpest pairs",
    explanation=(
        "The most similar pictures with different labels. They determine the sharpness, and wrong labels show here first."
    ),
    find=find,
    shown="pairs",
)
