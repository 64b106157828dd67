"""Image-quality faults shared by a large fraction of the dataset, reported once per fault."""

from __future__ import annotations

from collections.abc import Iterator

from dataprops.findings.context import Context
from dataprops.findings.image_quality import common, readable
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row, quoted
from dataprops.util.numbers import percent


def find(context: Context) -> Iterator[Row]:
    """One row per fault, with all images that have it; the value is their number."""
    of = readable(context)
    path = context.images["path"].to_numpy(object)
    for fault, some in common(context.faults or (), of).items():
        name = fault.replace("_", " ").capitalize()
        first = f"{quoted(path[some[0].image])} {some[0].words}"
        yield (
            tuple(one.image for one in some),
            len(some),
            f"{name}: {len(some):,} of {of:,} images ({percent(len(some) / of)}); {first}.",
        )


FINDING = Finding(
    name="common_faults",
    severity="info",
    title="Common image faults",
    explanation=(
        "At least a fifth of the images have this fault: it is characteristic of the dataset and is not counted among the bad"
        " pictures. Look at some of them: if they are wrong, find the device or the export that they share."
    ),
    find=find,
    shown="groups",
)
