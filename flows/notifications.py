"""Notifications about audits (alerts opened or closed, runs failed or late), resent until they arrive.

    tell (finished audit)        -+
    tell_failure (failed run)    -+-> outbox in the store -> `pass_on` -> event -> automation -> `deliver` -+-> `send_once`
    notice (`serve` and `watch`) -+                              |                                          |   -> channel
                                                                 +-- directly, if not delivered ------------+   -> receipt

Every notification is first written to the outbox, with a permanent id, and then sent by `pass_on`; there is no other path.

| step | by | retry |
|---|---|---|
| event | the process that found the news | by the next audit, `serve` or `watch`, if the server does not know it after `PATIENCE` |
| `deliver` | a worker, once per event | per channel, by Prefect, after `tasks.channels.RETRY_SECONDS` |
| directly | `serve` or `watch`, if there is no receipt after `PATIENCE` | exponential backoff, up to `LONGEST_WAIT` |

Exactly once: `tasks.channels.send_once` takes the dataset's sending lock and checks for the channel's receipt first, whoever calls
it. A notification leaves the outbox when the server has its event and every channel has a receipt.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dataprops.audit.config import from_dict
from dataprops.checks.alerts import SEVERITIES
from dataprops.checks.open_alerts import (
    OPENED,
    RUN_FAILED,
    RUN_LATE,
    News,
    forget,
    load_state,
    not_ahead,
    receipts,
    record_failure,
    settle,
)
from dataprops.store.folder import finished_runs, start_of
from flows.operation import Operation, operation_of, results_url
from tasks.channels import send_once
from tasks.events import event, known_events, send_events

log = logging.getLogger(__name__)

PATIENCE = timedelta(minutes=2)  # after which a notification without a receipt is sent directly
HANDED_BACK = timedelta(seconds=10)  # within which a stopped worker reschedules the run it interrupted
FIRST_WAIT, LONGEST_WAIT = 15.0, 3600.0  # seconds between attempts on a channel; doubles each time
RUNS_SEEN = 20  # newest failed or late runs to look at: one alert is enough

# "notification id channel" -> failed attempts, earliest time of the next
Tries = dict[str, tuple[int, float]]


def tell(store: Path, summary: Mapping[str, Any], operation: Operation) -> list[News]:
    """Notify about the alerts that an audit opened or closed."""
    dataset, when = summary["dataset"], _now()
    fresh = _of(settle(store, dataset, summary["alerts"], summary["run_id"], when), when)
    pass_on(store, dataset, operation, fresh, again=True)
    return fresh


def pass_on(
    store: Path,
    dataset: str,
    operation: Operation,
    fresh: Iterable[News] = (),
    *,
    again: bool = False,
    tried: Tries | None = None,
) -> None:
    """Send notifications. If the server is unreachable, log it; the notifications stay in the outbox.

    Parameters
    ----------
    fresh : iterable of News
        New notifications, already in the outbox.
    again : bool
        Whether to resend events that the server does not know, and drop delivered ones.
    tried : dict, optional
        Given by a long-running process, the same dict at every call: undelivered notifications are then sent from this process,
        see `send_waiting`.
    """
    from httpx import HTTPError

    try:
        _emit(fresh, operation)
        if again:
            sweep(store, dataset, operation)
    except (HTTPError, OSError) as error:
        log.warning("the server did not accept the notifications of %s (%s): they will be sent later", dataset, error)
    if tried is not None:
        send_waiting(store, dataset, operation, tried)


def tell_failure(flow: Any, flow_run: Any, state: Any) -> None:
    """Prefect hook for a failed run: raises an alert, which the next finished audit closes. Never raises an exception.

    Parameter names matter: the engine passes these by position, a worker by name. Crashed runs are left to `notice`: if the worker
    was stopped, the run is rescheduled and nothing need be reported.
    """
    operation = operation_of(flow_run.parameters.get("operation"))
    if operation is None:
        return
    try:
        config = from_dict(flow_run.parameters["options"])
        store = Path(config.store).expanduser().resolve()
        when = _now()
        waiting = record_failure(store, config.dataset, _unfinished(config.dataset, state), str(flow_run.id), when)
        pass_on(store, config.dataset, operation, _of(waiting, when))
    except Exception as error:  # noqa: BLE001 - a hook that raises hides the original failure
        log.warning("the failure of run %s could not be reported: %s", flow_run.name, error)


def _unfinished(dataset: str, state: Any) -> str:
    return f"The audit of {dataset} did not finish: {(state.message or state.name).strip().splitlines()[-1]}"


def notice(store: Path, dataset: str, late: float, operation: Operation) -> list[News]:
    """Report late audits, and runs that died without reporting (e.g. when their machine failed).

    Parameters
    ----------
    store : Path
    dataset : str
    late : float
        Minutes after which a run that has not started is reported.
    operation : Operation

    Returns
    -------
    list of News
        The alerts opened by this call.
    """
    when = _now()
    state = not_ahead(store, dataset, when)
    # stores of earlier versions have no "settled" time
    since = state.get("settled") or datetime.fromtimestamp(last_audit(store, dataset), UTC).isoformat()
    fresh: dict[str, News] = {}
    for run in _troubled_runs(dataset):
        began = (run.start_time or run.state.timestamp).astimezone(UTC).isoformat()
        name = RUN_LATE if run.state.is_scheduled() else RUN_FAILED
        if began <= since or name in state["open"] or name in fresh:
            continue
        if datetime.now(UTC) - run.state.timestamp < (timedelta(minutes=late) if name == RUN_LATE else HANDED_BACK):
            continue
        sentence = _late(dataset, run, late) if name == RUN_LATE else _unfinished(dataset, run.state)
        waiting = record_failure(store, dataset, sentence, str(run.id), when, name=name, began=began)
        fresh |= {item["name"]: item for item in _of(waiting, when)}
    pass_on(store, dataset, operation, fresh.values())
    return list(fresh.values())


def _late(dataset: str, run: Any, late: float) -> str:
    due = f"{run.expected_start_time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return (
        f"An audit of {dataset} that was due at {due} did not start within {late:g} minutes: is a worker for pool"
        f" {run.work_pool_name!r} running?"
    )


def _troubled_runs(dataset: str) -> list[Any]:
    """Late, failed or crashed runs of the dataset's deployment, newest first."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import DeploymentFilter, FlowFilter, FlowRunFilter
    from prefect.client.schemas.sorting import FlowRunSort

    states = {"operator": "or_", "type": {"any_": ["FAILED", "CRASHED"]}, "name": {"any_": ["Late"]}}
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(
            flow_filter=FlowFilter.model_validate({"name": {"any_": ["audit"]}}),
            deployment_filter=DeploymentFilter.model_validate({"name": {"any_": [dataset]}}),
            flow_run_filter=FlowRunFilter.model_validate({"state": states}),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            limit=RUNS_SEEN,
        )


def last_audit(store: Path, dataset: str) -> float:
    """Start of the last finished audit, seconds since 1970; 0 if there is none.

    If the clock was set back during it, its end time, which is then earlier than its run id.
    """
    runs = finished_runs(store, dataset)
    begun = start_of(runs[-1].name) if runs else None
    return min(begun.timestamp(), (runs[-1] / "summary.json").stat().st_mtime) if begun else 0.0


def sweep(store: Path, dataset: str, operation: Operation) -> int:
    """Resend events that the server does not have, with the same ids, and drop delivered ones; returns the number still waiting."""
    waiting = load_state(store, dataset)["outbox"]
    if not waiting:
        return 0
    known = known_events(item["id"] for item in waiting)
    done = [item["id"] for item in waiting if item["id"] in known and not _lacking(store, item, operation)]
    forget(store, dataset, done)
    left = [item for item in waiting if item["id"] not in done]
    # a recent event may still be in transit: do not resend it yet
    _emit([item for item in left if item["id"] not in known and _old(item)], operation)
    return len(left)


def send_waiting(store: Path, dataset: str, operation: Operation, tried: Tries) -> int:
    """Send overdue notifications from this process; returns how many were sent.

    A late-run alert is sent at once, since it may mean that no worker is running. A failing channel is retried at later calls with
    exponential backoff; nothing is raised.

    Parameters
    ----------
    store : Path
    dataset : str
    operation : Operation
    tried : dict
        Attempts so far; the same dict at every call.
    """
    sent = 0
    for item in load_state(store, dataset)["outbox"]:
        if not (_old(item) or item["name"] == RUN_LATE):
            continue
        for channel in sorted(_lacking(store, item, operation)):
            key = f"{item['id']} {channel}"
            count, then = tried.get(key, (0, 0.0))
            if time.monotonic() < then:
                continue
            try:
                report = payload(item, operation)["report"]
                sent += send_once(channel, operation.channels[channel], item, report, store)
                tried.pop(key, None)
            except Exception as error:  # noqa: BLE001 - whatever a channel raises: the notification stays in the outbox
                tried[key] = (count + 1, time.monotonic() + min(FIRST_WAIT * 2**count, LONGEST_WAIT))
                log.warning("delivery to %s failed for %s: %s", channel, dataset, error)
    return sent


def _lacking(store: Path, item: News, operation: Operation) -> set[str]:
    """Channels without a receipt; empty below the notification level, where only the event is sent."""
    if SEVERITIES.index(item["severity"]) < SEVERITIES.index(operation.level):
        return set()
    return set(operation.channels) - set(receipts(store, item["dataset"], item["id"]))


def payload(item: News, operation: Operation) -> dict[str, Any]:
    """Payload of an alert's event."""
    unreported = item["event"] == OPENED and item["name"] in (RUN_FAILED, RUN_LATE)  # these runs have no report
    link = None if unreported else results_url(operation.base_url, item["dataset"], item["run_id"])
    return {**item, "report": f"{link}/report.html" if link else None}


def _emit(items: Iterable[News], operation: Operation) -> None:
    send_events(
        event(
            item["event"],
            item["dataset"],
            payload(item, operation),
            item["id"],
            {"dataprops.severity": item["severity"]},
        )
        for item in items
    )


def _of(items: Iterable[News], when: str) -> list[News]:
    return [item for item in items if item["occurred"] == when]


def _old(item: News) -> bool:
    """Whether a notification is older than `PATIENCE`, or ahead of the clock (set back since), so that its age is unknown."""
    return abs(datetime.now(UTC) - datetime.fromisoformat(item["occurred"])) > PATIENCE


def _now() -> str:
    return datetime.now(UTC).isoformat()
