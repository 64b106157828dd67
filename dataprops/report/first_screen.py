"""The first screen, on the page, in notebooks and in messages: verdict, what to do next, and key numbers.

Next steps for findings are in `actions`, the value of more images in `more_images`, the numbers in `key_numbers`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pandas as pd

from dataprops.checks.alerts import detail_of
from dataprops.findings import FINDINGS
from dataprops.findings.check import SEVERITIES, first_sentence
from dataprops.report.actions import ACTIONS, Found, clause, counted, first_detail
from dataprops.report.key_numbers import Key, keys_of
from dataprops.report.more_images import more_data, no_better_than_guessing
from dataprops.report.text import in_words

STEPS = 7
FIRST = ("suspect_labels",)  # shown even without an alert
BEFORE_ALL = ("unread_labels", "narrow_range")  # shown first if they raised an alert: everything else depends on them
FEW = "enough_images"  # the check that fails for too small datasets
# numbers that decide the next steps; the others are further down
CARRYING = ("images", "probe.error", "probe.unexplained", "probe.gain_if_doubled", "probe.gain_of_squares")
PICTURES = 6  # images shown beside a step
WORDS = {
    "critical": "Do not train on this dataset as it is",
    "warning": "Check this before you train",
    "info": "Fit for training, with a remark",
}
GOOD = "Fit for training, as far as an audit can tell: all applicable checks passed."


class Step(NamedTuple):
    """A next step: sentence, link to the evidence on the page, and example images."""

    text: str
    href: str
    images: tuple[int, ...] = ()


class Verdict(NamedTuple):
    """Severity (good, info, warning or critical) and a sentence."""

    severity: str
    sentence: str


class FirstScreen(NamedTuple):
    """The first screen."""

    verdict: Verdict
    steps: list[Step]
    keys: list[Key]


def _kinds_of(check: str) -> set[str]:
    """Kinds of findings that are evidence for a check."""
    return {kind for f in FINDINGS.values() for c in f.checks if c.name == check for kind in c.kinds}


def _use(alert: Mapping[str, Any]) -> int:
    """Rank of an alert's evidence in the order of `ACTIONS`; alerts without evidence come last."""
    if not alert.get("findings"):
        return len(ACTIONS) + 1
    order = {kind: at for at, kind in enumerate(ACTIONS)}
    return min((order.get(kind, len(ACTIONS)) for kind in _kinds_of(alert["name"])), default=len(ACTIONS))


def verdict_of(summary: Mapping[str, Any]) -> Verdict:
    """The verdict, from the alerts."""
    alerts = summary["alerts"]
    if not alerts:
        return Verdict("good", GOOD)
    # among equally severe alerts, the one that the first step addresses
    first = min((alert for alert in alerts if alert["severity"] == alerts[0]["severity"]), key=_use)
    count = len(alerts) - 1
    others = f" And {counted(count, 'more alert', 'more alerts')}." if count else ""
    return Verdict(first["severity"], f"{WORDS[first['severity']]}: {clause(first['sentence'])}{others}")


def evidence_of(check: str, findings: pd.DataFrame, told: str = "", value: float = float("nan")) -> str:
    """Detail of the finding behind a check's alert (`checks.alerts.detail_of`), without what `told` already says."""
    kinds = _kinds_of(check)
    found = findings[findings["kind"].isin(list(kinds))]
    detail = in_words(detail_of(found, value) or "")
    first, rest = first_sentence(detail)
    return rest if first.rstrip(".") in told else detail


def alert_of_kinds(summary: Mapping[str, Any]) -> dict[str, str]:
    """Kind of finding -> highest severity of the alerts it is evidence for."""
    severities = {alert["name"]: str(alert.get("severity")) for alert in reversed(summary["alerts"])}
    raised = [
        (kind, severities[check.name])
        for finding in FINDINGS.values()
        for check in finding.checks
        if check.name in severities
        for kind in check.kinds
    ]
    order = {severity: at for at, severity in enumerate(SEVERITIES)}
    return dict(sorted(raised, key=lambda one: order.get(one[1], -1)))


def _alerted(summary: Mapping[str, Any], *severities: str) -> set[str]:
    """Kinds of findings that are evidence for an alert of these severities (default: any)."""
    return {kind for kind, severity in alert_of_kinds(summary).items() if not severities or severity in severities}


def _step(kind: str, found: Found) -> Step:
    named = list(dict.fromkeys(int(i) for ids in found["images"].head(PICTURES) for i in list(ids)[:2]))
    if kind in ACTIONS:
        text = ACTIONS[kind](found)
    else:
        text = (
            f"Look at “{FINDINGS[kind].title if kind in FINDINGS else kind.replace('_', ' ')}”: {first_detail(found)}"
        )
    return Step(f"{text.rstrip('.')}.", f"#find={kind}", tuple(named[:PICTURES]))


def in_order(kinds: Iterable[str], summary: Mapping[str, Any]) -> list[str]:
    """Kinds of findings by priority: doubts about how the dataset was read, critical alerts, warnings, the rest; each in the order of
    `ACTIONS`, with unknown kinds last.
    """
    there = dict.fromkeys(kinds)
    known = [*(kind for kind in ACTIONS if kind in there), *(kind for kind in there if kind not in ACTIONS)]
    critical, warned = _alerted(summary, "critical"), _alerted(summary, "critical", "warning")
    first = warned.intersection(BEFORE_ALL)
    return sorted(known, key=lambda kind: (kind not in first, kind not in critical, kind not in warned))


def steps_of(summary: Mapping[str, Any], findings: pd.DataFrame) -> list[Step]:
    """Next steps by priority (`in_order`), without what the verdict already says."""
    serious = findings.loc[findings["severity"].isin(["critical", "warning"]), "kind"]
    there = set(findings["kind"])
    kinds = [
        *(kind for kind in ACTIONS if kind in there),
        *(kind for kind in dict.fromkeys(serious) if kind not in ACTIONS),
    ]
    told = _more_images(summary)
    alerted = _alerted(summary)
    # drop kinds without an alert first
    ordered = in_order(kinds, summary)
    kept = sorted(ordered, key=lambda kind: kind not in alerted and kind not in FIRST)[: STEPS - (told is not None)]
    verdict = verdict_of(summary).sentence
    out = [_without(verdict, _step(kind, findings[findings["kind"] == kind])) for kind in in_order(kept, summary)]
    return [*out, told] if told else out


def _without(verdict: str, step: Step) -> Step:
    """The step without its reason, if the verdict gives that."""
    what, _, why = step.text.rstrip(".").partition(": ")
    return step._replace(text=f"{what}.") if why and why in verdict else step


def _more_images(summary: Mapping[str, Any]) -> Step | None:
    """The step about collecting more images: from the learning curve, or because the dataset is too small."""
    told = no_better_than_guessing(summary) or more_data(summary)
    if told is None and any(alert["name"] == FEW for alert in summary["alerts"]):
        return Step(
            f"Collect more images: {counted(summary['n_images'], 'is', 'are')} too few for the numbers below to be reliable.",
            "#key",
        )
    return Step(f"{told}.", "#plots") if told else None


def first_screen(summary: Mapping[str, Any], findings: pd.DataFrame) -> FirstScreen:
    """The first screen of an audit."""
    keys = keys_of(summary)
    if summary.get("feature_space") is None:  # otherwise all, to compare pixels with the user's features
        keys = [key for key in keys if key.of in CARRYING]
    return FirstScreen(verdict_of(summary), steps_of(summary, findings), keys)
