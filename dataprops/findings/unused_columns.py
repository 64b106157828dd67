"""Unused columns of a manifest."""

from __future__ import annotations

from collections.abc import Iterator

from dataprops.findings.check import Check
from dataprops.findings.context import Context
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row, quoted

NAMED = 40  # columns listed by name; the rest are counted (tables may have thousands of feature columns)


def find(context: Context) -> Iterator[Row]:
    """One row that lists the columns."""
    names, _ = context.unused_columns
    if names:
        more = f", and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
        yield (
            (),
            float(len(names)),
            f"Not used as label, split or patient: {', '.join(map(quoted, names[:NAMED]))}{more}.",
        )


def measures(context: Context) -> dict[str, float]:
    """unused_column_share, if the source is a table."""
    names, of = context.unused_columns
    return {"unused_column_share": len(names) / of} if of else {}


FINDING = Finding(
    name="unused_columns",
    severity="info",
    title="Columns that were not used",
    explanation=(
        "The manifest has more columns than path, label, split and patient. They are tested as shortcuts and for hard parts of"
        " the data. If one of them is the label, the split or the patient, name it: --label-column, --split-column, --group-column."
    ),
    find=find,
    measures=measures,
    checks=(
        Check(
            name="unused_columns",
            measure="unused_column_share",
            max=0.75,
            severity="info",
            title="most columns of the manifest are used",
            sentence="{value:share} of the manifest's columns were not used (at most {threshold:share} are tolerated): check"
            " whether one holds the label, the split or the patient.",
            reason="path, label, split and patient are four; a table of sixteen columns or more may call them by other names",
        ),
    ),
    shown="text",
)
