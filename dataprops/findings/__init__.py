"""What stands out in a dataset, each finding with the images it names.

`find` makes the table of findings, in the order of `FINDINGS`; `measures` the numbers that checks look at. Counts are exact even
where a list is cut. A finding is one row of `FINDINGS` and one module of this folder; `register` adds one of your own.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

import pandas as pd

from dataprops.findings.check import Check
from dataprops.findings.context import Context
from dataprops.findings.registry import FINDINGS, Finding, register, unregister
from dataprops.findings.rows import Row, rows
from dataprops.findings.shortcut import shortcut_scores

__all__ = [
    "FINDINGS",
    "Check",
    "Context",
    "Finding",
    "find",
    "measures",
    "register",
    "shortcut_scores",
    "unregister",
]


def find(context: Context, numbers: Mapping[str, float] | None = None) -> pd.DataFrame:
    """All findings of a set.

    Whenever a check in force fails on a measure of `numbers`, each finding that is its evidence has a row: at least one without
    images that says what is wrong.

    Parameters
    ----------
    numbers : mapping, optional
        Of `measures`, where it was called already.

    Returns
    -------
    DataFrame
        kind, severity, images (ids), paths, value, detail; at most `context.limit` rows of one kind.
    """
    numbers = measures(context) if numbers is None else numbers
    parts = []
    for name, finding in FINDINGS.items():
        part = rows(name, finding.severity, context.images, islice(finding.find(context), context.limit))
        if part.empty:
            part = rows(name, finding.severity, context.images, _failed(name, context, numbers))
        parts.append(part)
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else parts[0]


def _failed(name: str, context: Context, numbers: Mapping[str, float]) -> list[Row]:
    """What the failed checks of a finding say, for want of images."""
    judged = [(check, numbers[check.measure]) for check in context.checks if check.measure in numbers]
    failed = [(check, value) for check, value in judged if name in check.kinds and check.fails(value)]
    return [((), value, check.words(value, numbers)) for check, value in failed]


def measures(context: Context) -> dict[str, float]:
    """The numbers of a set that findings count; a measure that does not apply is absent."""
    out: dict[str, float] = {"n_images": len(context.images)}
    for finding in FINDINGS.values():
        out |= finding.measures(context)
    return out
