"""Findings: problems in a dataset, each with the images concerned.

`find` builds the findings table, in the order of `FINDINGS`; `measures` computes the numbers that checks test. Counts are exact even
if a list is truncated. A finding is one row of `FINDINGS` and one module of this package; `register` adds your own.
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
    """All findings of a dataset.

    If an active check fails on a measure of `numbers`, every finding that is evidence for it has a row: if it names no images, one row
    with the check's message.

    Parameters
    ----------
    numbers : mapping, optional
        Result of `measures`, if already computed.

    Returns
    -------
    DataFrame
        kind, severity, images (ids), paths, value, detail; at most `context.limit` rows per kind.
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
    """Messages of a finding's failed checks, for findings that name no images."""
    judged = [(check, numbers[check.measure]) for check in context.checks if check.measure in numbers]
    failed = [(check, value) for check, value in judged if name in check.kinds and check.fails(value)]
    return [((), value, check.words(value, numbers)) for check, value in failed]


def measures(context: Context) -> dict[str, float]:
    """Measures of all findings; a measure that does not apply is absent."""
    out: dict[str, float] = {"n_images": len(context.images)}
    for finding in FINDINGS.values():
        out |= finding.measures(context)
    return out
