"""What comes first, on the page, in a notebook and in messages: the verdict, what to do next, and the numbers that carry it.

What to do about a finding: `actions`; what more images would bring: `more_images`; the numbers: `key_numbers`.
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

STEPS = 7
FIRST = ("suspect_labels",)  # shown also where they raised no alert
BEFORE_ALL = ("unread_labels", "narrow_range")  # what all else rests on, where it raised an alert
FEW = "enough_images"  # the check that fails where a set is too small
# numbers that decide what is done next; the others stand further down
CARRYING = ("images", "probe.error", "probe.unexplained", "probe.gain_if_doubled", "probe.gain_of_squares")
PICTURES = 6  # images shown beside a step
WORDS = {
    "critical": "Do not train on this set as it is",
    "warning": "Look at the warnings first",
    "info": "Nothing serious",
}


class Step(NamedTuple):
    """A thing to do: a sentence, the place on the page that shows why, and images that do."""

    text: str
    href: str
    images: tuple[int, ...] = ()


class Verdict(NamedTuple):
    """good, info, warning or critical; and a sentence."""

    severity: str
    sentence: str


class FirstScreen(NamedTuple):
    """The first screen."""

    verdict: Verdict
    steps: list[Step]
    keys: list[Key]


def _kinds_of(check: str) -> set[str]:
    """Kinds of findings that are the evidence of a check."""
    return {kind for f in FINDINGS.values() for c in f.checks if c.name == check for kind in c.kinds}


def _use(alert: Mapping[str, Any]) -> int:
    """Place in the order of the steps of what is the evidence of an alert; what has none comes last."""
    if not alert.get("findings"):
        return len(ACTIONS) + 1
    order = {kind: at for at, kind in enumerate(ACTIONS)}
    return min((order.get(kind, len(ACTIONS)) for kind in _kinds_of(alert["name"])), default=len(ACTIONS))


def verdict_of(summary: Mapping[str, Any]) -> Verdict:
    """The verdict in words, from the alerts."""
    alerts = summary["alerts"]
    if not alerts:
        return Verdict("good", "No alert. Every check that applies to this set passed.")
    # of equally severe ones what the first step acts on
    first = min((alert for alert in alerts if alert["severity"] == alerts[0]["severity"]), key=_use)
    count = len(alerts) - 1
    others = f" And {counted(count, 'more alert', 'more alerts')}." if count else ""
    return Verdict(first["severity"], f"{WORDS[first['severity']]}: {clause(first['sentence'])}{others}")


def evidence_of(check: str, findings: pd.DataFrame, told: str = "", value: float = float("nan")) -> str:
    """What the finding that a check's alert rests on (`checks.alerts.detail_of`) says beyond `told`; empty where that is nothing."""
    kinds = _kinds_of(check)
    found = findings[findings["kind"].isin(list(kinds))]
    detail = detail_of(found, value) or ""
    first, rest = first_sentence(detail)
    return rest if first.rstrip(".") in told else detail


def alert_of_kinds(summary: Mapping[str, Any]) -> dict[str, str]:
    """Kind of finding -> the severity of the worst alert that it is the evidence of."""
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
    """Kinds of findings that are the evidence of an alert of these severities (of any, without them)."""
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
    """Kinds of findings in the order in which one acts on them: how the set was read where that is in doubt, what raised a critical
    alert, a warning, and then the rest as `ACTIONS` has it; what is not in it comes last, as it was given.
    """
    there = dict.fromkeys(kinds)
    known = [*(kind for kind in ACTIONS if kind in there), *(kind for kind in there if kind not in ACTIONS)]
    critical, warned = _alerted(summary, "critical"), _alerted(summary, "critical", "warning")
    first = warned.intersection(BEFORE_ALL)
    return sorted(known, key=lambda kind: (kind not in first, kind not in critical, kind not in warned))


def steps_of(summary: Mapping[str, Any], findings: pd.DataFrame) -> list[Step]:
    """What to do next, the most useful first (`in_order`)."""
    serious = findings.loc[findings["severity"].isin(["critical", "warning"]), "kind"]
    there = set(findings["kind"])
    kinds = [
        *(kind for kind in ACTIONS if kind in there),
        *(kind for kind in dict.fromkeys(serious) if kind not in ACTIONS),
    ]
    told = _more_images(summary)
    alerted = _alerted(summary)
    # the severe first, so that none of those is cut off
    ordered = in_order(kinds, summary)
    kept = sorted(ordered, key=lambda kind: kind not in alerted and kind not in FIRST)[: STEPS - (told is not None)]
    out = [_step(kind, findings[findings["kind"] == kind]) for kind in in_order(kept, summary)]
    return [*out, told] if told else out


def _more_images(summary: Mapping[str, Any]) -> Step | None:
    """The step to collect more: because the set is too small to say much of, or because the learning curve says what it brings."""
    told = no_better_than_guessing(summary) or more_data(summary)
    if told is None and any(alert["name"] == FEW for alert in summary["alerts"]):
        return Step(
            f"Collect more images: {summary['n_images']:,} are too few for the numbers below to be reliable.", "#key"
        )
    return Step(f"{told}.", "#plots") if told else None


def first_screen(summary: Mapping[str, Any], findings: pd.DataFrame) -> FirstScreen:
    """The first screen of an audit."""
    keys = keys_of(summary)
    if summary.get("feature_space") is None:  # else all, so that pixels and the user's features stand beside each other
        keys = [key for key in keys if key.of in CARRYING]
    return FirstScreen(verdict_of(summary), steps_of(summary, findings), keys)
