"""Alerts: problems that need attention, each with its number, threshold and evidence.

One alert per failed check; a critical one per failed consistency check of the result tables; and one of severity info per
prediction whose interval excludes 0, unless a failed check already covers it. The most severe come first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from dataprops.checks.thresholds import SEVERITIES, Check
from dataprops.errors import DatapropsError
from dataprops.laws.prediction import Prediction
from dataprops.laws.predictions import PREDICTIONS

EVIDENCE = 20  # images named with an alert
FAIL_ON = ("critical", "warning", "never")


@dataclass(frozen=True)
class Alert:
    """A failed expectation, or a prediction that deserves a look.

    Attributes
    ----------
    severity : str
        info, warning or critical.
    name : str
        Name of the check or prediction.
    sentence : str
        The problem, as shown to users.
    measure : str
    value, threshold : float
        The measured value, and the bound it violates.
    images : tuple of int
        Ids of the first `EVIDENCE` images in evidence.
    paths : tuple of str
        Their paths.
    findings : int
        Total number of findings of the check's kinds.
    """

    severity: str
    name: str
    sentence: str
    measure: str
    value: float
    threshold: float
    images: tuple[int, ...] = ()
    paths: tuple[str, ...] = ()
    findings: int = 0

    def as_dict(self) -> dict[str, Any]:
        """As a dict of plain values."""
        return asdict(self) | {"images": list(self.images), "paths": list(self.paths)}


def raise_alerts(
    measures: Mapping[str, float],
    checks: Iterable[Check],
    findings: pd.DataFrame,
    results: pd.DataFrame | None = None,
    predictions: Iterable[Prediction] = (),
) -> list[Alert]:
    """The alerts of an audit, most severe first; only the most severe per measure.

    Parameters
    ----------
    measures : mapping
        Name -> value.
    checks : iterable of Check
        From `thresholds.load_thresholds`.
    findings : DataFrame
        kind, images, paths, detail: the evidence.
    results : DataFrame, optional
        Results of `expectations.run_checks`. Without them thresholds are compared here, and the result tables are not checked.
    predictions : iterable of Prediction, optional
        Significant ones not covered by a failed check become alerts of severity info.
    """
    failed = None if results is None else set(results.loc[~results["success"].fillna(True), "check"])
    alerts = list(_failed_checks(measures, checks, findings, failed))
    if results is not None and failed:
        alerts += _failed_structure(results[(results["table"] != "measures") & results["check"].isin(failed)])
    alerts.sort(key=lambda alert: -SEVERITIES.index(alert.severity))
    kept, seen = [], set()
    for alert in alerts:
        if alert.measure not in seen:
            kept.append(alert)
        seen.add(alert.measure)
    return kept + list(_told_predictions(predictions, seen))


def _failed_checks(
    measures: Mapping[str, float], checks: Iterable[Check], findings: pd.DataFrame, failed: set[str] | None
) -> Iterator[Alert]:
    for check in checks:
        value = measures.get(check.measure)
        if value is None or not (check.fails(value) if failed is None else check.name in failed):
            continue
        evidence = findings[findings["kind"].isin(check.kinds)]
        named = _first_images(evidence)
        subject = detail_of(evidence, value) if "detail" in evidence else None
        yield Alert(
            check.severity,
            check.name,
            check.words(value, measures, subject),
            check.measure,
            float(value),
            check.threshold(value),
            tuple(named),
            tuple(named.values()),
            len(evidence),
        )


def detail_of(evidence: pd.DataFrame, value: float) -> str | None:
    """Detail of the finding whose value failed the check, otherwise of the first; None without findings."""
    if evidence.empty:
        return None
    own = evidence[np.isclose(evidence["value"].to_numpy(float), value)] if "value" in evidence else evidence
    return str((own if len(own) else evidence)["detail"].iloc[0])


def _first_images(evidence: pd.DataFrame) -> dict[int, str]:
    """Id -> path of the first `EVIDENCE` distinct images in findings."""
    named: dict[int, str] = {}
    for ids, paths in evidence[["images", "paths"]].itertuples(index=False):
        for image, path in zip(ids, paths, strict=True):
            named.setdefault(int(image), str(path))
            if len(named) == EVIDENCE:
                return named
    return named


def _failed_structure(rows: pd.DataFrame) -> Iterator[Alert]:
    for row in rows.to_dict("records"):
        yield Alert(
            row["severity"],
            row["check"],
            f"Internal consistency check failed: {row['title']} does not hold (table {row['table']}). Do not rely on"
            " its numbers; this is a bug in dataprops, please report it.",
            f"{row['table']}.{row['measure']}",
            float("nan"),
            row["min"],
        )


def _told_predictions(predictions: Iterable[Prediction], seen: set[str]) -> Iterator[Alert]:
    for prediction in predictions:
        row = PREDICTIONS.get(prediction.name)
        measure = row.measure if row is not None else ""
        if not measure or prediction.withheld is not None or not prediction.significant or prediction.value is None:
            continue
        if not any(name.startswith(measure) for name in seen):
            yield Alert("info", prediction.name, prediction.sentence, measure, prediction.value, 0.0)


def _severity(alert: Alert | Mapping[str, Any]) -> str:
    return alert.severity if isinstance(alert, Alert) else alert["severity"]


def worst(alerts: Iterable[Alert | Mapping[str, Any]]) -> str | None:
    """The highest severity among alerts (`Alert` or dict); None without alerts."""
    return max(map(_severity, alerts), key=SEVERITIES.index, default=None)


def exit_code(alerts: Iterable[Alert | Mapping[str, Any]], fail_on: str) -> int:
    """1 if an alert is at or above `fail_on` ("critical", "warning", "never"), else 0.

    Raises
    ------
    DatapropsError
        If `fail_on` is anything else.
    """
    if fail_on not in FAIL_ON:
        raise DatapropsError(f"fail-on must be one of {', '.join(FAIL_ON)}, got {fail_on!r}")
    found = worst(alerts)
    return int(fail_on != "never" and found is not None and SEVERITIES.index(found) >= SEVERITIES.index(fail_on))
