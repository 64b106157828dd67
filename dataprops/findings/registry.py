"""The table of findings: each row is a module of this package or comes from a call of `register`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Literal

from dataprops.errors import DatapropsError
from dataprops.findings.check import SEVERITIES, Check
from dataprops.findings.context import Context
from dataprops.findings.rows import Row
from dataprops.util.registry import Registry

GROUP = "dataprops.findings"
SHOWN = ("pairs", "groups", "images", "text")
# modules of this package, in report order; each defines FINDING
BUILT_IN = (
    "unreadable",
    "left_out",
    "unread_labels",
    "unused_columns",
    "narrow_range",
    "spelling",
    "label_conflicts",
    "near_conflicts",
    "split_leakage",
    "group_leakage",
    "exact_duplicates",
    "near_duplicates",
    "feature_near_duplicates",
    "copies_across_groups",
    "group_in_classes",
    "unlabelled",
    "several_frames",
    "misnamed",
    "class_imbalance",
    "small_class",
    "shortcut",
    "pixel_shortcut",
    "suspect_labels",
    "image_quality",
    "common_faults",
    "slices",
    "group_suggestion",
    "harder_to_learn",
    "sharper_labels",
    "classes_changed",
    "detail_lost",
    "outliers",
    "sharpest_pairs",
)


def _no_measures(context: Context) -> Mapping[str, float]:
    return {}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A kind of finding.

    Attributes
    ----------
    name : str
        Identifier in tables, thresholds and JSON: lower-case letters, digits and underscores.
    severity : str
        info, warning or critical.
    title : str
        Heading in the report.
    explanation : str
        Why it matters and what to do.
    find : callable
        find(context) yields (image ids, value, sentence), most important first.
    measures : callable
        measures(context) returns the numbers that checks test, by name, without those that do not apply. Counts are exact even if
        the list is truncated.
    checks : tuple of Check
        Default checks of its measures; a user's thresholds override single values.
    shown : str
        How the report shows a row: "pairs" (two images side by side), "groups" (all its images), "images" (one image per row),
        "text".
    """

    name: str
    severity: str
    title: str
    explanation: str
    find: Callable[[Context], Iterable[Row]]
    measures: Callable[[Context], Mapping[str, float]] = _no_measures
    checks: tuple[Check, ...] = ()
    shown: Literal["pairs", "groups", "images", "text"] = "text"

    def __post_init__(self) -> None:
        checks = tuple(check if check.kinds else replace(check, kinds=(self.name,)) for check in self.checks)
        object.__setattr__(self, "checks", checks)


def _built_in() -> Iterator[Finding]:
    for name in BUILT_IN:
        yield import_module(f"dataprops.findings.{name}").FINDING


def _fits(finding: Finding, others: Mapping[str, Finding]) -> None:
    name = finding.name
    if not (name.isidentifier() and name == name.lower()):
        raise DatapropsError(f"the finding's name {name!r} must be lower-case letters, digits and underscores")
    if finding.shown not in SHOWN:
        raise DatapropsError(f"finding {name!r}: shown must be one of {', '.join(SHOWN)}, got {finding.shown!r}")
    for what, severity in ((name, finding.severity), *((check.name, check.severity) for check in finding.checks)):
        if severity not in SEVERITIES:
            raise DatapropsError(f"{what!r}: severity must be one of {', '.join(SEVERITIES)}, got {severity!r}")
    taken = {check.name for other in others.values() for check in other.checks}
    for check in finding.checks:
        if check.name in taken:
            raise DatapropsError(f"finding {name!r}: the check name {check.name!r} is taken: choose another")


FINDINGS: Registry[Finding] = Registry(GROUP, Finding, _built_in, _fits)


def register(finding: Finding) -> Finding:
    """Add a finding to all later audits of this process; returns it.

    An installed package adds one with an entry point of the group ``dataprops.findings`` that names a `Finding`.

    Raises
    ------
    DatapropsError
        If the finding is incomplete, or its name or that of one of its checks is already registered.
    """
    return FINDINGS.register(finding)


def unregister(name: str) -> None:
    """Remove a finding from the table."""
    FINDINGS.unregister(name)
