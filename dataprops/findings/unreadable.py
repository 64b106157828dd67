"""Files that could not be decoded."""

from __future__ import annotations

from collections.abc import Iterator

from dataprops.findings.check import Check
from dataprops.findings.context import Context
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row, quoted


def find(context: Context) -> Iterator[Row]:
    """One row per image that could not be decoded."""
    images = context.images
    for image, path, error in images.loc[images["pixels"].isna(), ["image", "path", "error"]].itertuples(index=False):
        yield (image,), 0.0, f"{quoted(path)}: {error}."


def measures(context: Context) -> dict[str, float]:
    """n_unreadable; unreadable_share: fraction of all images."""
    n, missing = len(context.images), int(context.images["pixels"].isna().sum())
    return {"n_unreadable": missing, "unreadable_share": missing / n if n else 0.0}


FINDING = Finding(
    name="unreadable",
    severity="warning",
    title="Unreadable files",
    explanation=(
        "These files could not be decoded and are not part of the audit. Restore them, or remove them from the manifest."
    ),
    find=find,
    measures=measures,
    checks=(
        Check(
            name="unreadable",
            measure="unreadable_share",
            max=0.01,
            severity="warning",
            title="few unreadable files",
            sentence="{value:share} of the files cannot be read (at most {threshold:share} are tolerated).",
            reason="a single damaged file is an accident, one in a hundred a fault in the export",
        ),
    ),
    shown="text",
)
