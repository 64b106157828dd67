"""Classes with several spellings."""

from __future__ import annotations

from collections.abc import Iterator

from dataprops.findings.check import Check
from dataprops.findings.context import Context
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row


def find(context: Context) -> Iterator[Row]:
    """One row per class with several spellings."""
    for kept, count in context.spellings:
        ways = ", ".join(f"{label!r} ({number:,})" for label, number in count.items())
        yield (), float(sum(count.values())), f"The class {kept!r} is written as {ways}: write {kept!r} everywhere."


def measures(context: Context) -> dict[str, float]:
    """spelling_classes, if there are classes."""
    return {"spelling_classes": float(len(context.spellings))} if context.kind == "classes" else {}


FINDING = Finding(
    name="spelling",
    severity="warning",
    title="Classes with several spellings",
    explanation=(
        "These labels differ only in spaces, case, separators or 0 and 0.0, and were taken as one class. If they are different"
        " classes, give --as-written; else correct the labels, so that other programs count them alike."
    ),
    find=find,
    measures=measures,
    checks=(
        Check(
            name="spelling",
            measure="spelling_classes",
            max=0,
            severity="warning",
            title="every class has one spelling",
            sentence="{value:class is|classes are} written in several ways; each was taken as one class.",
            reason="a training that compares labels as text would see more classes",
        ),
    ),
    shown="text",
)
