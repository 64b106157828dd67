"""Bad pictures: dark, overexposed, blurred, noisy, blank, compressed, of odd size or shape, grey among colour, inverted, wrongly
turned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from dataprops.findings.check import Check
from dataprops.findings.context import Context
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row, quoted

if TYPE_CHECKING:
    from dataprops.findings.quality import Fault

COMMON, MANY = 0.2, 10  # of the images, and images at least, that have a fault which is the set's own nature
ALWAYS = ("blank", "nearly_blank", "inverted", "wrong_orientation")


def common(faults: Iterable[Fault], of: int) -> dict[str, list[Fault]]:
    """Faults that belong to how a set of so many readable images is made, by name: `COMMON` of them have it, `MANY` at least.

    What shows nothing, and what is turned or inverted, is wrong however many there are. A device or an export that spoils a tenth
    of the images must be told picture by picture.
    """
    by_name: dict[str, list[Fault]] = {}
    for fault in faults:
        by_name.setdefault(fault.fault, []).append(fault)
    least = max(MANY, COMMON * of)
    return {name: some for name, some in sorted(by_name.items()) if len(some) >= least and name not in ALWAYS}


def find(context: Context) -> Iterator[Row]:
    """One row for each image and fault, its name first in the sentence; the value is what was measured."""
    path = context.images["path"].to_numpy(object)
    for fault in _single(context):
        yield (fault.image,), fault.value, f"{fault.fault}: {quoted(path[fault.image])} {fault.words}."


def readable(context: Context) -> int:
    """How many images could be read."""
    return int(context.images["pixels"].notna().sum())


def _single(context: Context) -> list[Fault]:
    """Faults that are not the nature of the set."""
    faults = context.faults or ()
    many = common(faults, readable(context))
    return [fault for fault in faults if fault.fault not in many]


def measures(context: Context) -> dict[str, float]:
    """bad_image_share: readable images with a fault that few have; one that is only grey is no bad picture for sure."""
    of = readable(context)
    if context.faults is None or not of:
        return {}
    return {"bad_image_share": len({f.image for f in _single(context) if f.fault != "grey_among_colour"}) / of}


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
