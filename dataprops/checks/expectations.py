"""The checks as Great Expectations: one expectation per threshold, and structural ones on the result tables.

The context is in memory, sends no usage statistics and writes no temporary site; only the Data Docs are written (`data_docs`).
Since 1.0 a failed validation does not raise: each result's `success` is read, and an expectation that cannot be evaluated counts
as failed. A measure that does not apply (e.g. no splits) or is NaN, which Great Expectations would pass as missing, is reported as
skipped.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from dataprops.checks.data_docs import write_docs
from dataprops.checks.thresholds import Check

log = logging.getLogger(__name__)


class CheckReport(NamedTuple):
    """Outcome of the checks.

    Attributes
    ----------
    success : bool
        True if no expectation failed, at any severity.
    results : DataFrame
        check, table, measure, value, min, max, severity, success (NA: skipped), title.
    data_docs : Path or None
        Index page of the Data Docs.
    """

    success: bool
    results: pd.DataFrame
    data_docs: Path | None


class Verdicts(NamedTuple):
    """Results of Great Expectations.

    Attributes
    ----------
    outcome : dict
        Name of a check or rule -> whether it holds; rules of empty tables are missing.
    reasons : tuple of (name, error)
        Expectations that could not be evaluated; they count as failed.
    """

    outcome: dict[str, bool]
    reasons: tuple[tuple[str, str], ...]


class Structural(NamedTuple):
    """A consistency check of a result table: a failure is a bug, not a data problem."""

    name: str
    table: str
    title: str
    expectation: str
    options: dict[str, Any]


Evaluate = Callable[[Mapping[str, pd.DataFrame], Sequence[Check], Sequence[Structural], Path | None], Verdicts]


def _between(table: str, column: str, name: str, title: str) -> Structural:
    return Structural(name, table, title, "ExpectColumnValuesToBeBetween", {"column": column, "min_value": 0})


PATHS_GIVEN = Structural(
    "paths_given", "images", "every image has a path", "ExpectColumnValuesToNotBeNull", {"column": "path"}
)
PATHS_UNIQUE = Structural(
    "paths_unique", "images", "no path appears twice", "ExpectColumnValuesToBeUnique", {"column": "path"}
)
STRUCTURE: tuple[Structural, ...] = (
    PATHS_GIVEN,
    PATHS_UNIQUE,
    _between("images", "neighbour_distance", "distances_valid", "distances to neighbours are not negative"),
    _between("images", "knn_distance", "knn_distances_valid", "distances to the k-th neighbour are not negative"),
    _between("images", "sharpest_distance", "sharpest_distances_valid", "distances of sharpest pairs are not negative"),
    _between("images", "sharpness", "sharpness_valid", "label sharpness is not negative"),
    _between("properties", "value", "values_valid", "properties are not negative"),
    _between("properties", "se", "errors_valid", "standard errors are not negative"),
)


def structure(measures: Mapping[str, float]) -> tuple[Structural, ...]:
    """The structural checks; with classes, also that label codes are 0 to n_classes - 1."""
    classes = measures.get("n_classes")
    if classes is None or math.isnan(classes):
        return STRUCTURE
    options = {"column": "y", "value_set": list(range(int(classes)))}
    title = "every label is the code of a class"
    return (*STRUCTURE, Structural("labels_valid", "images", title, "ExpectColumnValuesToBeInSet", options))


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress Great Expectations' warnings; keep its errors."""
    logger = logging.getLogger("great_expectations")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"great_expectations\b|marshmallow\b|altair\b|jsonschema\b")
            yield
    finally:
        logger.setLevel(level)


def run_checks(
    measures: Mapping[str, float],
    images: pd.DataFrame,
    properties: pd.DataFrame,
    checks: Sequence[Check],
    docs: Path | None = None,
    evaluate: Evaluate | None = None,
) -> CheckReport:
    """Validate the results of an audit.

    Parameters
    ----------
    measures : mapping
        Name -> value.
    images, properties : DataFrame
        Result tables.
    checks : sequence of Check
        From `thresholds.load_thresholds`.
    docs : Path, optional
        Folder for the Data Docs; without it nothing is written.
    evaluate : callable, optional
        Runs Great Expectations: `validate` in this process (default), or `validator.validate` in the helper process.
    """
    applicable = [check for check in checks if _given(measures.get(check.measure))]
    rules = structure(measures)
    frames = {
        "measures": pd.DataFrame([{check.measure: float(measures[check.measure]) for check in applicable}]),
        "images": _columns(images, rules, "images"),
        "properties": _columns(properties, rules, "properties"),
    }
    outcome, reasons = (evaluate or validate)(frames, applicable, rules, docs)
    for name, reason in reasons:
        log.error("check %s could not be evaluated and counts as failed: %s", name, reason)
    table = _results_table(measures, checks, rules, outcome)
    return CheckReport(all(outcome.values()), table, None if docs is None else Path(docs) / "index.html")


def _given(value: float | None) -> bool:
    return value is not None and not math.isnan(value)


def _columns(table: pd.DataFrame, rules: Sequence[Structural], name: str) -> pd.DataFrame:
    """The columns used by rules; a missing one stays missing, so that its rule fails."""
    wanted = dict.fromkeys(rule.options["column"] for rule in rules if rule.table == name)
    return table[[column for column in wanted if column in table]]


def validate(
    frames: Mapping[str, pd.DataFrame], checks: Sequence[Check], rules: Sequence[Structural], docs: Path | None
) -> Verdicts:
    """Run Great Expectations in this process: checks on the table "measures", rules on the others."""
    with _quiet():
        return _validate(frames, checks, rules, docs)


def _validate(
    frames: Mapping[str, pd.DataFrame], checks: Sequence[Check], rules: Sequence[Structural], docs: Path | None
) -> Verdicts:
    import great_expectations as gx
    from great_expectations import expectations
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    library: Any = expectations  # re-exports that type checkers do not see
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
        progress_bars=ProgressBarsConfig(globally=False, metric_calculations=False),
        analytics_enabled=False,
    )
    context = gx.get_context(mode="ephemeral", project_config=config)
    suites: dict[str, list[Any]] = {name: [] for name in frames}
    for check in checks:
        suites["measures"].append(
            library.ExpectColumnValuesToBeBetween(
                column=check.measure,
                min_value=check.min,
                max_value=check.max,
                severity=check.severity,
                description=f"{check.title} ({check.name}: {check.measure}{_bounds(check)})",
                meta={"check": check.name, "severity": check.severity},
            )
        )
    for rule in rules:
        make = getattr(library, rule.expectation)
        description = f"{rule.title} ({rule.name}: {rule.options['column']})"
        meta = {"check": rule.name, "severity": "critical"}
        suites[rule.table].append(make(**rule.options, severity="critical", description=description, meta=meta))
    source = context.data_sources.add_pandas("audit")
    outcome: dict[str, bool] = {}
    reasons: list[tuple[str, str]] = []
    told: dict[str, list[dict[str, Any]]] = {}
    for name, wanted in suites.items():
        if not wanted or not len(frames[name]):
            continue
        outcome |= {one.meta["check"]: False for one in wanted}  # until there is a result
        suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=wanted))
        batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("whole")
        validation = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
        told[name] = []
        for one in validation.run(batch_parameters={"dataframe": frames[name]}).results:
            told[name].append(one.to_json_dict())
            about: Any = one.expectation_config
            check = about.meta["check"]
            outcome[check] = bool(one.success)
            reasons += [(check, reason) for reason in sorted(_exceptions(one.exception_info))]
    if docs is not None:
        write_docs(Path(docs), told)
    return Verdicts(outcome, tuple(reasons))


def _bounds(check: Check) -> str:
    low = "" if check.min is None else f" at least {check.min:g}"
    high = "" if check.max is None else f" at most {check.max:g}"
    return low + high


def _exceptions(info: Mapping[str, Any] | None) -> set[str]:
    """Exception messages of an expectation; Great Expectations gives one record, or one per metric."""
    records = [info, *(value for value in (info or {}).values() if isinstance(value, Mapping))]
    return {str(record["exception_message"]) for record in records if record and record.get("raised_exception")}


def _results_table(
    measures: Mapping[str, float], checks: Sequence[Check], rules: Sequence[Structural], outcome: Mapping[str, bool]
) -> pd.DataFrame:
    columns = ["check", "table", "measure", "value", "min", "max", "severity", "success", "title"]
    rows: list[tuple] = [
        (
            check.name,
            "measures",
            check.measure,
            measures.get(check.measure),
            check.min,
            check.max,
            check.severity,
            outcome.get(check.name),
            check.title,
        )
        for check in checks
    ]
    for rule in rules:
        low = rule.options.get("min_value")
        success = outcome.get(rule.name)
        rows.append((rule.name, rule.table, rule.options["column"], None, low, None, "critical", success, rule.title))
    table = pd.DataFrame(rows, columns=columns)
    numbers = ["value", "min", "max"]
    table[numbers] = table[numbers].astype(float)
    return table.astype({"success": "boolean"})
