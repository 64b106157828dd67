"""Alerts: what a person should know now, each with its number, its threshold and its evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from dataprops.thresholds import SEVERITIES, Check

EVIDENCE = 20  # images named with an alert


@dataclass(frozen=True)
class Alert:
    """A failed expectation.

    Attributes
    ----------
    severity : str
        info, warning or critical.
    name : str
        Of the check.
    sentence : str
    measure : str
    value, threshold : float
    images : tuple of int
        Ids of images that are the evidence, the first `EVIDENCE` of them.
    paths : tuple of str
    findings : int
        Findings of the check's kinds in all.
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
        """Plain values."""
        return asdict(self) | {"images": list(self.images), "paths": list(self.paths)}


def raise_alerts(measures: Mapping[str, float], checks: Iterable[Check], findings: pd.DataFrame) -> list[Alert]:
    """An alert for each failed check, the most severe first; of two checks on one measure only the more severe."""
    alerts: list[Alert] = []
    for check in checks:
        value = measures.get(check.measure)
        if value is None or not check.fails(value):
            continue
        evidence = findings[findings["kind"].isin(check.kinds)]
        named: dict[int, str] = {}
        for ids, paths in evidence[["images", "paths"]].itertuples(index=False):
            named.update(zip(ids, paths, strict=True))
            if len(named) >= EVIDENCE:
                break
        threshold = check.threshold(value)
        alerts.append(
            Alert(
                check.severity,
                check.name,
                check.sentence.format(value=value, threshold=threshold),
                check.measure,
                float(value),
                threshold,
                tuple(named)[:EVIDENCE],
                tuple(named.values())[:EVIDENCE],
                len(evidence),
            )
        )
    alerts.sort(key=lambda alert: -SEVERITIES.index(alert.severity))
    seen: set[str] = set()
    return [alert for alert in alerts if not (alert.measure in seen or seen.add(alert.measure))]


def worst(severities: Iterable[str]) -> str | None:
    """The most severe of these, None if there is none."""
    return max(severities, key=SEVERITIES.index, default=None)


def exit_code(alerts: Iterable[Mapping[str, Any]], fail_on: str) -> int:
    """1 if an alert is at or above `fail_on` ("critical", "warning", "never"), else 0."""
    if fail_on == "never":
        return 0
    least = SEVERITIES.index(fail_on)
    return int(any(SEVERITIES.index(alert["severity"]) >= least for alert in alerts))
