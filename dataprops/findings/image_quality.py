"""Image-quality faults: dark, overexposed, blurred, noisy, blank, compressed, odd size or shape, grey among colour, inverted, wrong
orientation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from dataprops.findings.check import Check
from dataprops.findings.context import Context
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row, quoted

if TYPE_CHECKING:
    from dataprops.findings.quality import Fault

COMMON, MANY = 0.2, 10  # fraction and number of images from which a fault is a characteristic of the dataset
ALWAYS = ("blank", "nearly_blank", "inverted", "wrong_orientation")


def common(faults: Iterable[Fault], of: int) -> dict[str, list[Fault]]:
    """Faults characteristic of a dataset of `of` readable images, by name: those of at least `COMMON` of the images, and of `MANY`.

    Blank, turned and inverted images are faults however many there are. A device or export that spoils a tenth of the images is
    reported image by image.
    """
    by_name: dict[str, list[Fault]] = {}
    for fault in faults:
        by_name.setdefault(fault.fault, []).append(fault)
    least = max(MANY, COMMON * of)
    return {name: some for name, some in sorted(by_name.items()) if len(some) >= least and name not in ALWAYS}


def find(context: Context) -> Iterator[Row]:
    """One row per image and fault; the sentence starts with the fault's name, the value is the measurement."""
    path = context.images["path"].to_numpy(object)
    for fault in _single(context):
        yield (fault.image,), fault.value, f"{fault.fault}: {quoted(path[fault.image])} {fault.words}."


def readable(context: Context) -> int:
    """Number of readable images."""
    return int(context.images["pixels"].notna().sum())


def _single(context: Context) -> list[Fault]:
    """Faults that are not characteristic of the dataset."""
    faults = context.faults or ()
    many = common(faults, readable(context))
    return [fault for fault in faults if fault.fault not in many]


def measures(context: Context) -> dict[str, float]:
    """bad_image_share: fraction of readable images with an uncommon fault; grey among colour alone does not count."""
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
        " inverted or wrongly oriented compared with the rest of the dataset. Look at them: repair them or remove them from the"
        " manifest."
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
            reason="one in a hundred looks odd in any collection; more indicate a faulty device or export",
        ),
    ),
    shown="images",
)
