"""Probable labels that were not read, and doubtful interpretations of folders and tables."""

from __future__ import annotations

from collections.abc import Iterator

from dataprops.findings.check import Check
from dataprops.findings.context import Context
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row
from dataprops.sources.account import FOLDERS_USED, IN_DOUBT, NONE_LEFT_OUT


def _told(context: Context) -> list[str]:
    """Possible misreadings, each with the option that corrects it: doubtful guesses, other labels in a table, and possible label
    locations if images have no class or only one.
    """
    unlabelled = context.kind != "numbers" and context.images["y"].nunique() <= 1
    return [
        f"{told['why']} ({told['option']})"
        for told in context.decisions
        if told["value"] == IN_DOUBT
        or (told["what"], told["value"]) in {("masks", NONE_LEFT_OUT), ("splits", "none")}
        or (context.kind != "numbers" and (told["what"], told["value"]) == ("labels", FOLDERS_USED))
        or (
            unlabelled and told["value"] == "none" and (told["what"] == "labels" or "--label-pattern" in told["option"])
        )
    ]


def find(context: Context) -> Iterator[Row]:
    """One row per place that may hold labels."""
    for told in _told(context):
        yield (), 0.0, f"{told[:1].upper()}{told[1:]}."


def measures(context: Context) -> dict[str, float]:
    """places_of_unread_labels."""
    return {"places_of_unread_labels": float(len(_told(context)))}


FINDING = Finding(
    name="unread_labels",
    severity="warning",
    title="Ambiguous folders and tables",
    explanation=(
        "The images have no label, or all have the same, while nearby files or names may contain labels; or their folders and a table"
        " beside them disagree; or what was read as a class looks like something else. Without the right labels the audit cannot"
        " detect wrong labels or shortcuts, or measure how hard the dataset is: specify where they are, and audit again. If they were"
        " read correctly, confirm that with the option given (--layout class)."
    ),
    find=find,
    measures=measures,
    checks=(
        Check(
            name="unread_labels",
            measure="places_of_unread_labels",
            max=0,
            severity="warning",
            title="folders and tables were read unambiguously",
            sentence=(
                "{value:reading|readings} of folders, names or tables may be wrong, or labels were not read: all other"
                " results depend on it."
            ),
            reason="without the right labels an audit misses half of the problems, or reports false ones",
        ),
    ),
    shown="text",
)
