"""Classes removed or added since the previous audit: merged, split, renamed, added or lost."""

from __future__ import annotations

from collections.abc import Iterator

from dataprops.findings.check import Check
from dataprops.findings.context import Context
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row


def find(context: Context) -> Iterator[Row]:
    """One row per class; its value is the number of its images: of a removed class those still present, of a new class those it
    received."""
    for sentence, images in context.since.classes if context.since else ():
        yield images, float(len(images)), sentence


def measures(context: Context) -> dict[str, float]:
    """classes_changed: number of classes removed or added."""
    return {} if context.since is None else {"classes_changed": float(len(context.since.classes))}


FINDING = Finding(
    name="classes_changed",
    severity="info",
    title="Classes removed or added",
    explanation=(
        "The classes differ from those of the previous audit, so it is a different task: errors, losses and sharpness are"
        " not comparable. Check that the change is intended, and that no folder or label was renamed by mistake."
    ),
    find=find,
    measures=measures,
    checks=(
        Check(
            name="classes_changed",
            measure="classes_changed",
            max=0,
            severity="warning",
            title="same classes as in the previous audit",
            sentence="{value:class was|classes were} removed or added since the previous audit: the task has changed.",
            reason="a network trained on the earlier classes does not know these",
        ),
    ),
    shown="groups",
)
