"""Skipped files that may have been meant as images."""

from __future__ import annotations

from collections.abc import Iterator

from dataprops.findings.check import Check
from dataprops.findings.context import Context
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row, quoted
from dataprops.sources.account import NO_LOSS, lost_fraction


def find(context: Context) -> Iterator[Row]:
    """One row per file, except masks, hidden and companion files, and files that the caller excluded."""
    for name, reason in context.left_out:
        if reason not in NO_LOSS:
            yield (), 0.0, f"{quoted(name)} was left out: {reason}."


def measures(context: Context) -> dict[str, float]:
    """left_out_share: their fraction of these files and the images together."""
    return {"left_out_share": lost_fraction(context.left_out, len(context.images))}


FINDING = Finding(
    name="left_out",
    severity="info",
    title="Files left out",
    explanation=(
        "These files are in the source but were not read as images. If they are images, convert them or correct their names; if not,"
        " --exclude excludes them silently."
    ),
    find=find,
    measures=measures,
    checks=(
        Check(
            name="left_out",
            measure="left_out_share",
            max=0.05,
            severity="warning",
            title="few files left out",
            sentence="{value:share} of the files were left out (at most {threshold:share} are tolerated): they are listed with the"
            " reason.",
            reason="a stray file is common; one in twenty is a format or a part of the dataset that was missed",
        ),
    ),
    shown="text",
)
