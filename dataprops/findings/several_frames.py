"""Files with several frames, of which only one was read."""

from __future__ import annotations

from collections.abc import Iterator

from dataprops.findings.context import Context
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row, quoted


def find(context: Context) -> Iterator[Row]:
    """One row per readable file with unread frames; its value is its number of frames."""
    images = context.images
    if "frames" not in images:  # tables written by older versions
        return
    several = images[(images["frames"] > 1) & images["pixels"].notna()]
    for image, path, frames, kind in several[["image", "path", "frames", "format"]].itertuples(index=False):
        which = "middle" if kind == "DICOM" else "first"
        yield (image,), frames, f"{quoted(path)} holds {frames:,} frames; the {which} one was used."


FINDING = Finding(
    name="several_frames",
    severity="info",
    title="Files with several frames",
    explanation=(
        "Only one frame of each of these files was used: of DICOM the middle one (audit them as dicom:FOLDER to have them "
        "all), of TIFF, GIF and the like the first (save the others as separate files if they belong to the dataset)."
    ),
    find=find,
    shown="text",
)
