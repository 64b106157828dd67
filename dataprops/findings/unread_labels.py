"""Labels that the set seems to have and that were not read."""

from __future__ import annotations

from collections.abc import Iterator

from dataprops.findings.check import Check
from dataprops.findings.context import Context
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row
from dataprops.sources.account import FOLDERS_USED


def _told(context: Context) -> list[str]:
    """Where labels may stand and the option that takes them: of images of no class or all of one, or where a table has other ones."""
    if context.kind == "numbers":
        return []
    unlabelled = context.images["y"].nunique() <= 1
    return [
        f"{told['why']} ({told['option']})"
        for told in context.decisions
        if (told["what"], told["value"]) == ("labels", FOLDERS_USED)
        or (
            unlabelled and told["value"] == "none" and (told["what"] == "labels" or "--label-pattern" in told["option"])
        )
    ]


def find(context: Context) -> Iterator[Row]:
    """One row for each place where they may stand."""
    for told in _told(context):
        yield (), 0.0, f"{told[:1].upper()}{told[1:]}."


def measures(context: Context) -> dict[str, float]:
    """places_of_unread_labels."""
    return {"places_of_unread_labels": float(len(_told(context)))}


FINDING = Finding(
    name="unread_labels",
    severity="warning",
    title="Labels that were not read",
    explanation=(
        "The images have no label, or all the same, while files or names beside them may hold some; or their folders say one"
        " thing and a table beside them another. Without the right labels the audit cannot look for wrong ones, for"
        " shortcuts, or for how hard the set is: say where the labels are, and audit again."
    ),
    find=find,
    measures=measures,
    checks=(
        Check(
            name="unread_labels",
            measure="places_of_unread_labels",
            max=0,
            severity="warning",
            title="labels that seem to be there were read",
            sentence="{value:place|places} may hold labels that were not read: wrong ones and shortcuts were not looked for.",
            reason="without labels that exist an audit finds half of what it could",
        ),
    ),
    shown="text",
)
