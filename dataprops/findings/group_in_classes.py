"""A patient in two classes."""

from __future__ import annotations

from collections.abc import Iterator

from dataprops.findings.check import Check
from dataprops.findings.context import Context
from dataprops.findings.groups import groups_with_several
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row, quoted, split_names


def find(context: Context) -> Iterator[Row]:
    """One row per group (patient) with several labels; its value is its number of images."""
    if context.kind != "classes":
        return
    for group, members in groups_with_several(context.images, "label"):
        labels = split_names(members["label"])
        yield members["image"].to_numpy(), len(members), f"Images of {quoted(str(group))} are labelled {labels}."


def measures(context: Context) -> dict[str, float]:
    """groups_in_classes: groups with several labels, if there are groups and classes."""
    if context.kind != "classes" or not context.images["group"].notna().any():
        return {}
    return {"groups_in_classes": float(sum(1 for _ in find(context)))}


FINDING = Finding(
    name="group_in_classes",
    severity="info",
    title="A patient in two classes",
    explanation="Images of one patient carry different labels. That can be right (before and after), or a mistake.",
    find=find,
    measures=measures,
    checks=(
        Check(
            name="groups_in_classes",
            measure="groups_in_classes",
            max=0,
            severity="info",
            title="no patient in two classes",
            sentence="{value:patient has|patients have} images in more than one class: check that this is intended.",
            reason="can be right: before and after treatment",
        ),
    ),
    shown="groups",
)
