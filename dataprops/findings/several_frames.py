"""Files of which other frames were not looked at."""

from __future__ import annotations

from collections.abc import Iterator

from dataprops.findings.context import Context
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row, quoted


def find(context: Context) -> Iterator[Row]:
    """One row for each readable file of which other frames were not looked at; its value is the number of its frames."""
    images = context.images
    if "frames" not in images:  # tables of before
        return
    several = images[(images["frames"] > 1) & images["pixels"].notna()]
    for image, path, frames in several[["image", "path", "frames"]].itertuples(index=False):
        yield (image,), frames, f"{quoted(path)} holds {frames:,} frames; the middle one was taken."


FINDING = Finding(
    name="several_frames",
    severity="info",
    title="Files of several frames",
    explanation=(
        "Of each of these DICOM files one frame, the middle one, took part. Audit them as dicom:FOLDER to have them "
        "all."
    ),
    find=find,
    shown="text",
)
