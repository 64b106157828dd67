"""Open alerts and unsent notifications: the state kept between audits of a dataset.

A notification is sent once when an alert opens and once when it closes. `STORE/alerts/<dataset>.json` holds the open alerts and
the outbox; `STORE/alerts/receipts/<dataset>/` one small file per notification, with the channels that received it.

Crash safety
------------
1. `settle` writes open alerts and outbox in one atomic rename, before anything is sent. After a crash before the rename, the next
   audit finds the same change; after a crash following it, the notification is in the outbox, with its permanent id.
2. A notification leaves the outbox once delivered (`forget`). Until then it is resent with the same id, so receivers can
   deduplicate.
3. A receipt is written right after the channel accepts the message. The sender holds the dataset's sending lock and checks for a
   receipt first, so concurrent senders never send twice. Only a crash between the channel's response and the receipt causes a
   duplicate: delivery is at least once per channel, and exactly once otherwise. (Writing the receipt first would lose messages.)
"""

from __future__ import annotations

import json
import logging
import os
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dataprops.errors import DatapropsError
from dataprops.util.files import write_text
from dataprops.util.json import plain

log = logging.getLogger(__name__)

NAMESPACE = uuid.UUID("6f1f6d0e-6c0a-5d43-9a58-3a4f2f0c7d1b")
OPENED, CLOSED = "audit.alert.opened", "audit.alert.closed"
# alerts for audits that failed or did not start; the next finished audit closes them
RUN_FAILED, RUN_LATE = "audit_failed", "audit_late"
RECEIPT_DAYS = 90
STILL_OPEN = {"severity", "sentence", "measure", "value", "threshold", "paths"}

State = dict[str, Any]
News = dict[str, Any]


def empty_state() -> State:
    """A state without open alerts or unsent notifications."""
    return {"schema": 1, "open": {}, "outbox": []}


def changes(opened_before: Mapping[str, Mapping], alerts: Iterable[Mapping[str, Any]]) -> tuple[list[dict], list[dict]]:
    """Alerts that opened (new, or more severe than notified before) and alerts that closed.

    A changed value or a lower severity alone causes no notification.

    Examples
    --------
    >>> was = {"conflicts": {"name": "conflicts", "severity": "critical"}}
    >>> now = [{"name": "leaks", "severity": "critical"}]
    >>> opened, closed = changes(was, now)
    >>> [alert["name"] for alert in opened], [alert["name"] for alert in closed]
    (['leaks'], ['conflicts'])
    """
    from dataprops.checks.alerts import SEVERITIES

    present = {alert["name"]: dict(alert) for alert in alerts}

    def is_news(name: str, alert: Mapping[str, Any]) -> bool:
        before = opened_before.get(name)
        # compare with the worst severity notified: a value oscillating around a bound must not notify each time
        return before is None or SEVERITIES.index(alert["severity"]) > SEVERITIES.index(_told(before))

    opened = [alert for name, alert in present.items() if is_news(name, alert)]
    # closes with the worst severity notified, so that it reaches every channel that saw it open
    closed = [{**alert, "severity": _told(alert)} for name, alert in opened_before.items() if name not in present]
    return opened, closed


def _told(alert: Mapping[str, Any]) -> str:
    """The worst severity notified for an open alert."""
    return alert.get("told", alert["severity"])


def news(dataset: str, kind: str, alert: Mapping[str, Any], run_id: str, when: str) -> News:
    """A notification; its id is a function of the change and the run, so repeating it gives the same id."""
    told = {name: plain(alert[name]) for name in ("name", *sorted(STILL_OPEN)) if name in alert}
    identity = f"{dataset}\n{kind}\n{alert['name']}\n{alert['severity']}\n{run_id}"
    return {
        "id": str(uuid.uuid5(NAMESPACE, identity)),
        "event": kind,
        "occurred": when,
        "dataset": dataset,
        "run_id": run_id,
        **told,
    }


def settled(state: State, dataset: str, alerts: Iterable[Mapping[str, Any]], run_id: str, when: str) -> State:
    """The state after an audit with these alerts: open alerts, outbox with new notifications, and the time."""
    from dataprops.checks.alerts import SEVERITIES

    alerts = list(alerts)
    opened, closed = changes(state["open"], alerts)
    still = {name: dict(alert) for name, alert in state["open"].items() if name in {a["name"] for a in alerts}}
    for alert in alerts:
        kept = {name: plain(alert[name]) for name in ("name", *STILL_OPEN) if name in alert}
        before = still.get(alert["name"], {})
        told = max(alert["severity"], _told(before) if before else "info", key=SEVERITIES.index)
        still[alert["name"]] = {**kept, "since": before.get("since", run_id), "told": told}
    fresh = [news(dataset, OPENED, alert, run_id, when) for alert in opened]
    fresh += [news(dataset, CLOSED, alert, run_id, when) for alert in closed]
    known = {item["id"] for item in state["outbox"]}
    outbox = state["outbox"] + [item for item in fresh if item["id"] not in known]
    return {**state, "open": still, "outbox": outbox, "settled": when}


def with_failure(
    state: State,
    dataset: str,
    sentence: str,
    run_id: str,
    when: str,
    *,
    name: str = RUN_FAILED,
    began: str | None = None,
) -> State:
    """The state after a failed or late run: one more alert, unless it is already open.

    No alert either if the run `began` (UTC, ISO 8601) before the last finished audit, which supersedes it.
    """
    if name in state["open"] or (began is not None and began <= state.get("settled", "")):
        return state
    alert = {"name": name, "severity": "critical", "sentence": sentence}
    return {
        **state,
        "open": {**state["open"], name: {**alert, "since": run_id}},
        "outbox": [*state["outbox"], news(dataset, OPENED, alert, run_id, when)],
    }


def state_path(store: Path, dataset: str) -> Path:
    """Path of a dataset's state file."""
    return store / "alerts" / f"{dataset}.json"


def load_state(store: Path, dataset: str) -> State:
    """The state of a dataset; empty if there is none.

    Raises
    ------
    DatapropsError
        If the file is damaged: starting afresh would resend every open alert, which is for the user to decide.
    """
    path = state_path(store, dataset)
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        if {"open", "outbox"} <= set(state):
            return state
        raise ValueError("keys open and outbox are missing")
    except FileNotFoundError:
        return empty_state()
    except ValueError as error:
        raise DatapropsError(
            f"{path} is damaged ({error}): restore it, or delete it, which resends every open alert"
        ) from error


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a lock file; released by the operating system if the process dies."""
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path, timeout=300):
        yield


@contextmanager
def changing(store: Path, dataset: str) -> Iterator[State]:
    """The state, to be modified in place; written in one atomic rename if the context exits without an error."""
    path = state_path(store, dataset)
    with held(store / "locks" / f"{dataset}.alerts.lock"):
        state = load_state(store, dataset)
        before = json.dumps(state, sort_keys=True)
        yield state
        if json.dumps(state, sort_keys=True) != before:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(state, indent=1, allow_nan=False) + "\n")


def not_ahead(store: Path, dataset: str, when: str) -> State:
    """The state, with its "settled" time capped at `when`.

    A later time means that the clock was set back since; uncapped, failures would not be reported until the clock caught up.
    """
    state = load_state(store, dataset)
    if state.get("settled", "") <= when:
        return state
    with changing(store, dataset) as state:
        state["settled"] = min(state.get("settled", ""), when)
    return state


def settle(store: Path, dataset: str, alerts: Iterable[Mapping[str, Any]], run_id: str, when: str) -> list[News]:
    """Record what an audit changed, before anything is sent; returns the outbox."""
    with changing(store, dataset) as state:
        state.update(settled(state, dataset, alerts, run_id, when))
        return list(state["outbox"])


def record_failure(store: Path, dataset: str, sentence: str, run_id: str, when: str, **how: Any) -> list[News]:
    """Record a failed or late run, before anything is sent; returns the outbox. See `with_failure`."""
    with changing(store, dataset) as state:
        state.update(with_failure(state, dataset, sentence, run_id, when, **how))
        return list(state["outbox"])


def forget(store: Path, dataset: str, ids: Iterable[str]) -> None:
    """Remove delivered notifications from the outbox."""
    gone = set(ids)
    if gone:
        with changing(store, dataset) as state:
            state["outbox"] = [item for item in state["outbox"] if item["id"] not in gone]


def receipts_folder(store: Path, dataset: str) -> Path:
    """Folder of a dataset's receipts."""
    return store / "alerts" / "receipts" / dataset


def receipts(store: Path, dataset: str, news_id: str) -> dict[str, str]:
    """Channel -> time of delivery of a notification."""
    path = receipts_folder(store, dataset) / f"{uuid.UUID(news_id)}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write_receipt(store: Path, dataset: str, news_id: str, channel: str, when: str) -> None:
    """Record the delivery of a notification to a channel; the caller holds the lock (`sending`)."""
    path = receipts_folder(store, dataset) / f"{uuid.UUID(news_id)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps({**receipts(store, dataset, news_id), channel: when}))


@contextmanager
def sending(store: Path, dataset: str) -> Iterator[None]:
    """Lock held while a dataset's notifications are sent, so that none is sent twice; deletes old receipts on exit."""
    with held(store / "locks" / f"{dataset}.sending.lock"):
        yield
        oldest = time.time() - RECEIPT_DAYS * 86400
        waiting = {item["id"] for item in load_state(store, dataset)["outbox"]}
        for path in receipts_folder(store, dataset).glob("*.json"):
            if path.stem not in waiting and path.stat().st_mtime < oldest:
                os.unlink(path)  # noqa: PTH108 - beside os.replace
