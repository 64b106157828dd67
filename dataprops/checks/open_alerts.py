"""Which alerts are open, and what is still to be said about them: the memory between audits of one dataset.

An alert is told once when it opens and once when it closes. `STORE/alerts/<dataset>.json` holds the open alerts and an
outbox of news; `STORE/alerts/receipts/<dataset>/` one small file for each piece of news that reached its channels.

What a crash can do
-------------------
1. `settle` writes the open alerts and the news about them in one rename, before anything is sent. A crash before it: the
   next audit finds the same change. A crash after it: the news lies in the outbox, with the id it will always have.
2. News leaves the outbox when it is known to have arrived (`forget`). Until then it is sent again, with its id: whoever
   receives it can tell a repetition from news.
3. A channel's receipt is written right after the channel took the message. The sender holds the lock of that piece of news
   and checks for a receipt first, so that two senders never send two messages. Only a crash between the channel's answer and
   the receipt makes one message arrive twice: at least once for each channel, and exactly once but for that instant. (Sending
   after writing the receipt would lose messages instead; the id is part of the message, so the receiver can tell.)
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
# alerts of audits that did not finish or did not start; the next one that finishes closes them
RUN_FAILED, RUN_LATE = "audit_failed", "audit_late"
RECEIPT_DAYS = 90
STILL_OPEN = {"severity", "sentence", "measure", "value", "threshold", "paths"}

State = dict[str, Any]
News = dict[str, Any]


def empty_state() -> State:
    """A state with no open alerts and no messages to send."""
    return {"schema": 1, "open": {}, "outbox": []}


def changes(opened_before: Mapping[str, Mapping], alerts: Iterable[Mapping[str, Any]]) -> tuple[list[dict], list[dict]]:
    """Alerts that opened and alerts that closed: by name, or because their severity rose.

    A measure that only moved, or a severity that fell, is not news: nobody is notified twice.

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
        # against the worst that was told: a value that swings around a bound must not notify each time
        return before is None or SEVERITIES.index(alert["severity"]) > SEVERITIES.index(_told(before))

    opened = [alert for name, alert in present.items() if is_news(name, alert)]
    # told to whoever heard that it opened: by the worst severity, not by the last
    closed = [{**alert, "severity": _told(alert)} for name, alert in opened_before.items() if name not in present]
    return opened, closed


def _told(alert: Mapping[str, Any]) -> str:
    """The worst severity that was reported for an open alert."""
    return alert.get("told", alert["severity"])


def news(dataset: str, kind: str, alert: Mapping[str, Any], run_id: str, when: str) -> News:
    """One piece of news; the same change found by the same run always has the same id."""
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
    """The state after an audit with these alerts: what is open now, the outbox with what is new, and when that was."""
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
    """The state after a run that failed or is late: one alert more, unless it is open already.

    Nor if the run `began` (UTC, ISO 8601) before the last audit that finished: that one made it good.
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
        If the file is damaged: to start anew would send every open alert again, so that is for a person to decide.
    """
    path = state_path(store, dataset)
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        if {"open", "outbox"} <= set(state):
            return state
        raise ValueError("it has no open alerts and outbox")
    except FileNotFoundError:
        return empty_state()
    except ValueError as error:
        raise DatapropsError(
            f"{path} is damaged ({error}): restore it, or remove it, and every open alert is sent once more"
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
    """The state, to be changed in place; written in one rename when the context ends well."""
    path = state_path(store, dataset)
    with held(store / "locks" / f"{dataset}.alerts.lock"):
        state = load_state(store, dataset)
        before = json.dumps(state, sort_keys=True)
        yield state
        if json.dumps(state, sort_keys=True) != before:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(state, indent=1, allow_nan=False) + "\n")


def not_ahead(store: Path, dataset: str, when: str) -> State:
    """The state at a moment. Where it says that an audit was settled after it, the clock was set back since: from now on runs are
    compared with this moment, else none that fails would be told until the clock is there again.
    """
    state = load_state(store, dataset)
    if state.get("settled", "") <= when:
        return state
    with changing(store, dataset) as state:
        state["settled"] = min(state.get("settled", ""), when)
    return state


def settle(store: Path, dataset: str, alerts: Iterable[Mapping[str, Any]], run_id: str, when: str) -> list[News]:
    """Write down what an audit changed, before anything is sent; returns all that waits."""
    with changing(store, dataset) as state:
        state.update(settled(state, dataset, alerts, run_id, when))
        return list(state["outbox"])


def record_failure(store: Path, dataset: str, sentence: str, run_id: str, when: str, **how: Any) -> list[News]:
    """Write down that a run failed or is late, before anything is sent; returns all that waits. See `with_failure`."""
    with changing(store, dataset) as state:
        state.update(with_failure(state, dataset, sentence, run_id, when, **how))
        return list(state["outbox"])


def forget(store: Path, dataset: str, ids: Iterable[str]) -> None:
    """Remove delivered messages from the outbox."""
    gone = set(ids)
    if gone:
        with changing(store, dataset) as state:
            state["outbox"] = [item for item in state["outbox"] if item["id"] not in gone]


def receipts_folder(store: Path, dataset: str) -> Path:
    """Where the receipts of a dataset lie."""
    return store / "alerts" / "receipts" / dataset


def receipts(store: Path, dataset: str, news_id: str) -> dict[str, str]:
    """Channel -> time at which it took this piece of news."""
    path = receipts_folder(store, dataset) / f"{uuid.UUID(news_id)}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write_receipt(store: Path, dataset: str, news_id: str, channel: str, when: str) -> None:
    """Note that a channel took a piece of news; the caller holds its lock (`sending`)."""
    path = receipts_folder(store, dataset) / f"{uuid.UUID(news_id)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps({**receipts(store, dataset, news_id), channel: when}))


@contextmanager
def sending(store: Path, dataset: str) -> Iterator[None]:
    """Held while news of a dataset is sent, so that two senders never send two messages; drops old receipts."""
    with held(store / "locks" / f"{dataset}.sending.lock"):
        yield
        oldest = time.time() - RECEIPT_DAYS * 86400
        waiting = {item["id"] for item in load_state(store, dataset)["outbox"]}
        for path in receipts_folder(store, dataset).glob("*.json"):
            if path.stem not in waiting and path.stat().st_mtime < oldest:
                os.unlink(path)  # noqa: PTH108 - beside os.replace
