"""A patient in two splits."""

from __future__ import annotations

from collections.abc import Iterator

from dataprops.findings.check import Check
from dataprops.findings.context import Context
from dataprops.findings.groups import groups_with_several
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row, quoted, split_names


def find(context: Context) -> Iterator[Row]:
    """One row per group (patient) in several splits; its value is its number of images."""
    for group, members in groups_with_several(context.images, "split"):
        where = split_names(members["split"])
        yield members["image"].to_numpy(), len(members), f"Images of {quoted(str(group))} are in {where}."


def measures(context: Context) -> dict[str, float]:
    """group_leaks: groups in several splits, if there are groups and splits."""
    images = context.images
    if not (images["group"].notna().any() and images["split"].notna().any()):
        return {}
    return {"group_leaks": float(sum(1 for _ in find(context)))}


FINDING = Finding(
    name="group_leakage",
    severity="critical",
    title="A patient in two splits",
    explanation=(
        "Images of one patient resemble each other: a patient in both the training and a test part makes the test "
        "result over-optimistic. Split by patient."
    ),
    find=find,
    measures=measures,
    checks=(
        Check(
            name="group_leaks",
            measure="group_leaks",
            max=0,
            severity="critical",
            title="no patient in two splits",
            sentence=(
                "{value:patient has|patients have} images in more than one split: test results will be over-optimistic."
            ),
            reason="a network can recognise a patient",
        ),
    ),
    shown="groups",
)
