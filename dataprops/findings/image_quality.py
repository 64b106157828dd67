"""Bad pictures: dark, overexposed, blurred, noisy, blank, compressed, of odd size or shape, grey among colour, inverted, wrongly
turned."""

from __future__ import annotations

from collections.abc import Iterator

from dataprops.findings.check import Check
from dataprops.findings.context import Context
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row, quoted


def find(context: Context) -> Iterator[Row]:
    """One row for each image and fault, its name first in the sentence; the value is what was measured."""
    path = context.images["path"].to_numpy(object)
    for fault in context.faults or ():
        yield (fault.image,), fault.value, f"{fault.fault}: {quoted(path[fault.image])} {fault.words}."


def measures(context: Context) -> dict[str, float]:
    """bad_image_share: readable images with a fault; one that is only grey is no bad picture for sure."""
    readable = int(context.images["pixels"].notna().sum())
    if context.faults is None or not readable:
        return {}
    return {"bad_image_share": len({f.image for f in context.faults if f.fault != "grey_among_colour"}) / readable}


FINDING = Finding(
    name="image_quality",
    severity="warning",
    title="Bad pictures",
    explanation=(
        "These pictures are dark, overexposed, blurred, noisy, blank, heavily compressed, of odd size or shape, grey among colour,"
        " inverted or wrongly turned beside the others of the set. Look at them: repair them or remove them from the manifest."
    ),
    find=find,
    measures=measures,
    checks=(
        Check(
            name="image_quality",
            measure="bad_image_share",
            max=0.01,
            severity="warning",
            title="few bad pictures",
            sentence="{value:share} of the images are bad pictures (at most {threshold:share} are tolerated).",
            reason="one in a hundred looks odd in every collection; more come from a faulty device or export",
        ),
    ),
    shown="images",
)
