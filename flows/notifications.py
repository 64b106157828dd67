"""Notifications about audits: what changed, that one failed, that one is late - resent until they arrive.

    tell (an audit that finished)  -+
    tell_failure (one that failed) -+-> outbox in the store -> `pass_on` -> event -> automation -> `deliver` -+-> `send_once`
    notice (whoever stays)         -+                              |                                          |   -> channel
                                                                   +-- directly, where none delivered --------+   -> receipt

Whoever finds news writes it into the outbox, with the id that it will always have, and calls `pass_on`; nothing travels otherwise.

| step | by whom | tried again |
|---|---|---|
| event | whoever found the news | by the next audit, `serve` and `watch`: the server does not know it after `PATIENCE` |
| `deliver` | a worker, once for each event | each channel by itself, by Prefect, after `tasks.channels.RETRY_SECONDS` |
| directly | `serve` or `watch`: no receipt after `PATIENCE` | after waits that double, up to `LONGEST_WAIT` |

Once: `tasks.channels.send_once` holds the lock of the news and asks for the channel's receipt first, whoever calls it. News leaves the
outbox when the server knows its event and every channel has its receipt.
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
from dataprops.store.folder import finished_runs
from flows.operation import Operation, operation_of, results_url
from tasks.channels import send_once
from tasks.events import event, known_events, send_events

log = logging.getLogger(__name__)

PATIENCE = timedelta(minutes=2)  # after which news without a receipt is sent by another way
HANDED_BACK = timedelta(seconds=10)  # in which a worker that is stopped lets the run that it cut short run again
FIRST_WAIT, LONGEST_WAIT = 15.0, 3600.0  # seconds between two tries of a channel; each wait is twice the one before
RUNS_SEEN = 20  # of those that failed or are late, the newest: one alert is enough

# "news id channel" -> failed attempts, and when the next may start
Tries = dict[str, tuple[int, float]]


def tell(store: Path, summary: Mapping[str, Any], operation: Operation) -> list[News]:
    """Tell what an audit changed: alerts that opened or closed."""
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
    """Send notifications on: the one path of this module. A server that cannot be reached is logged; the news waits in the outbox.

    Parameters
    ----------
    fresh : iterable of News
        What was found now, in the outbox already.
    again : bool
        Whether to send events again that the server does not know, and to forget what arrived.
    tried : dict, optional
        Of a process that stays, the same at every call: then news that nobody delivered is sent from here, see `send_waiting`.
    """
    from httpx import HTTPError

    try:
        _emit(fresh, operation)
        if again:
            sweep(store, dataset, operation)
    except (HTTPError, OSError) as error:
        log.warning("the server refused the news of %s (%s): it will be sent later", dataset, error)
    if tried is not None:
        send_waiting(store, dataset, operation, tried)


def tell_failure(flow: Any, flow_run: Any, state: Any) -> None:
    """Hook of a run that failed: an alert of its own, which the next finished audit closes. Never raises.

    (The engine passes these by place, a worker by name.) One that crashed is left to `notice`: where its worker was stopped, it
    runs again, and there is nothing to tell.
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
    except Exception as error:  # noqa: BLE001 - a hook that raises hides what failed
        log.warning("the failure of run %s could not be reported: %s", flow_run.name, error)


def _unfinished(dataset: str, state: Any) -> str:
    return f"The audit of {dataset} did not finish: {(state.message or state.name).strip().splitlines()[-1]}"


def notice(store: Path, dataset: str, late: float, operation: Operation) -> list[News]:
    """Report audits that are late, and those that ended silently, as when their machine died.

    Parameters
    ----------
    store : Path
    dataset : str
    late : float
        Minutes after which a run that did not start is reported.
    operation : Operation

    Returns
    -------
    list of News
        What was opened now.
    """
    when = _now()
    state = not_ahead(store, dataset, when)
    # a store of an earlier version does not know when an audit was settled
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
    """Runs of the dataset's deployment that are late, failed or crashed, the newest first."""
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
    """When the last finished audit began, in seconds since 1970; 0 if there is none.

    Where the clock was set back before it, its name is later than that: then when it ended.
    """
    runs = finished_runs(store, dataset)
    if not runs:
        return 0.0
    named = datetime.strptime(runs[-1].name.partition("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    return min(named, (runs[-1] / "summary.json").stat().st_mtime)


def sweep(store: Path, dataset: str, operation: Operation) -> int:
    """Resend events that the server does not have, with their ids, and drop those that arrived; returns how many still wait."""
    waiting = load_state(store, dataset)["outbox"]
    if not waiting:
        return 0
    known = known_events(item["id"] for item in waiting)
    done = [item["id"] for item in waiting if item["id"] in known and not _lacking(store, item, operation)]
    forget(store, dataset, done)
    left = [item for item in waiting if item["id"] not in done]
    # an event on its way is not written down yet: it is not sent twice for that
    _emit([item for item in left if item["id"] not in known and _old(item)], operation)
    return len(left)


def send_waiting(store: Path, dataset: str, operation: Operation, tried: Tries) -> int:
    """Send news from this process to channels that have not received it for a while; returns how many did.

    What says that no worker is there does not wait for one. A channel that fails is tried again at later calls, after waits
    that double; nothing is raised.

    Parameters
    ----------
    store : Path
    dataset : str
    operation : Operation
    tried : dict
        The same at every call: how often each was tried.
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
            except Exception as error:  # noqa: BLE001 - whatever a channel raises: the news waits in the outbox
                tried[key] = (count + 1, time.monotonic() + min(FIRST_WAIT * 2**count, LONGEST_WAIT))
                log.warning("delivery to %s failed for %s: %s", channel, dataset, error)
    return sent


def _lacking(store: Path, item: News, operation: Operation) -> set[str]:
    """Channels that are to be told and have no receipt; below the level the event alone is the news."""
    if SEVERITIES.index(item["severity"]) < SEVERITIES.index(operation.level):
        return set()
    return set(operation.channels) - set(receipts(store, item["dataset"], item["id"]))


def payload(item: News, operation: Operation) -> dict[str, Any]:
    """What an event about an alert carries."""
    unreported = item["event"] == OPENED and item["name"] in (RUN_FAILED, RUN_LATE)  # such a run wrote no report
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
    """Whether a piece of news is older than `PATIENCE`; or ahead of a clock that was set back, which says nothing of its age."""
    return abs(datetime.now(UTC) - datetime.fromisoformat(item["occurred"])) > PATIENCE


def _now() -> str:
    return datetime.now(UTC).isoformat()
