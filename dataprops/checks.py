"""The checks as Great Expectations: a suite over the measures, and structural ones over the result tables, with Data Docs.

Everything stays in memory but the Data Docs, which go beside the results. A measure that does not apply to a set (no splits, say) is
skipped and said to be.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from dataprops.thresholds import Check

log = logging.getLogger(__name__)


class CheckReport(NamedTuple):
    """Outcome of the checks.

    Attributes
    ----------
    success : bool
        No expectation failed, of whatever severity.
    results : DataFrame
        check, table, measure, value, min, max, severity, success (None: skipped), title.
    data_docs : Path or None
        Index page of the Data Docs.
    """

    success: bool
    results: pd.DataFrame
    data_docs: Path | None


class Structural(NamedTuple):
    """A check of a result table itself: a failure is a fault of ours, not of the data."""

    name: str
    table: str
    title: str
    expectation: str
    options: dict[str, Any]


STRUCTURE: tuple[Structural, ...] = (
    Structural("paths_given", "images", "every image has a path", "ExpectColumnValuesToNotBeNull", {"column": "path"}),
    Structural("paths_unique", "images", "no path stands twice", "ExpectColumnValuesToBeUnique", {"column": "path"}),
    Structural(
        "distances_positive",
        "images",
        "distances are not negative",
        "ExpectColumnValuesToBeBetween",
        {"column": "neighbour_distance", "min_value": 0},
    ),
    Structural(
        "sharpness_positive",
        "images",
        "label sharpness is positive",
        "ExpectColumnValuesToBeBetween",
        {"column": "sharpness", "min_value": 0, "strict_min": True},
    ),
    Structural(
        "values_positive",
        "properties",
        "properties are not negative",
        "ExpectColumnValuesToBeBetween",
        {"column": "value", "min_value": 0},
    ),
    Structural(
        "errors_positive",
        "properties",
        "standard errors are not negative",
        "ExpectColumnValuesToBeBetween",
        {"column": "se", "min_value": 0},
    ),
)


@contextmanager
def _quiet() -> Iterator[None]:
    """Great Expectations' remarks about itself do not belong in an audit's log."""
    loggers = [logging.getLogger("great_expectations")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"great_expectations.*|marshmallow.*|altair.*|jsonschema.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def run_checks(
    measures: Mapping[str, float],
    images: pd.DataFrame,
    properties: pd.DataFrame,
    checks: Sequence[Check],
    docs: Path | None = None,
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
        Folder for the Data Docs.
    """
    with _quiet():
        return _run(measures, images, properties, checks, docs)


def _run(
    measures: Mapping[str, float],
    images: pd.DataFrame,
    properties: pd.DataFrame,
    checks: Sequence[Check],
    docs: Path | None,
) -> CheckReport:
    import great_expectations as gx
    from great_expectations import expectations as gxe
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    applicable = [check for check in checks if check.measure in measures]
    frames = {
        "measures": pd.DataFrame([{check.measure: float(measures[check.measure]) for check in applicable}]),
        "images": images[["path", "neighbour_distance", "sharpness"]],
        "properties": properties[["value", "se"]],
    }
    suites: dict[str, list[Any]] = {name: [] for name in frames}
    for check in applicable:
        suites["measures"].append(
            gxe.ExpectColumnValuesToBeBetween(
                column=check.measure,
                min_value=check.min,
                max_value=check.max,
                description=check.title,
                meta={"check": check.name, "severity": check.severity},
            )
        )
    for rule in STRUCTURE:
        make = getattr(gxe, rule.expectation)
        suites[rule.table].append(
            make(**rule.options, description=rule.title, meta={"check": rule.name, "severity": "critical"})
        )
    site = None if docs is None else _add_site(context, docs)
    source = context.data_sources.add_pandas("audit")
    outcome: dict[str, bool] = {}
    for name, expectations in suites.items():
        if not expectations or frames[name].empty:
            continue
        suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=expectations))
        batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("whole")
        validation = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
        checkpoint = context.checkpoints.add(
            gx.Checkpoint(name=name, validation_definitions=[validation], actions=[] if site is None else [site])
        )
        done = checkpoint.run(batch_parameters={"dataframe": frames[name]})
        for result in done.run_results.values():
            # an expectation that raised has success False, too
            for one in result.results:
                meta = one.expectation_config.meta if one.expectation_config else None
                outcome[(meta or {})["check"]] = bool(one.success)
    page = None if docs is None else docs / "index.html"
    return CheckReport(all(outcome.values()), _results_table(measures, checks, outcome), page)


def _add_site(context: Any, docs: Path) -> Any:
    """A Data Docs site in this folder; the action that brings it up to date after a validation."""
    from great_expectations.checkpoint import UpdateDataDocsAction

    context.add_data_docs_site(
        site_name="results",
        site_config={
            "class_name": "SiteBuilder",
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs)},
        },
    )
    return UpdateDataDocsAction(name="docs", site_names=["results"])


def _results_table(measures: Mapping[str, float], checks: Sequence[Check], outcome: dict[str, bool]) -> pd.DataFrame:
    columns = ["check", "table", "measure", "value", "min", "max", "severity", "success", "title"]
    rows = [
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
    rows += [
        (
            rule.name,
            rule.table,
            rule.options["column"],
            None,
            None,
            None,
            "critical",
            outcome.get(rule.name),
            rule.title,
        )
        for rule in STRUCTURE
    ]
    table = pd.DataFrame(rows, columns=columns)
    numbers = ["value", "min", "max"]
    table[numbers] = table[numbers].astype(float)
    return table.astype({"success": "boolean"})
