"""What an audit does beside auditing when it runs as a deployment: takes over what waits, tells what changed.

A plain `dataprops audit` does none of this: its flow gets no `Operation`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from dataprops.alert_state import News, forget, load_state, receipts, record_failure, settle
from dataprops.alerts import SEVERITIES
from dataprops.config import from_dict
from tasks.events import event, known_events, send_events

log = logging.getLogger(__name__)

PATIENCE = timedelta(minutes=2)  # after which news without a receipt is sent by another way
NEVER_STARTED = timedelta(minutes=5)  # for a run that a worker took; to start a process takes seconds


@dataclass(frozen=True)
class Operation:
    """How a dataset is operated: small, so that it travels as a deployment's parameter.

    Attributes
    ----------
    level : str
        Severity from which on alerts go to the channels.
    channels : mapping
        Name -> notification block.
    deliver : str or None
        The deployment that delivers, as "deliver/name".
    base_url : str or None
        Where results are served, for links.
    file : str or None
        The file that it was deployed from.
    """

    level: str = "warning"
    channels: Mapping[str, str] = field(default_factory=dict)
    deliver: str | None = None
    base_url: str | None = None
    file: str | None = None


def operation_of(values: Mapping[str, Any] | None) -> Operation | None:
    """From a deployment's parameters; names of a later version are left out."""
    known = {row.name for row in fields(Operation)}
    return None if values is None else Operation(**{name: value for name, value in values.items() if name in known})


def reason_of(options: Mapping[str, Any], arrival: Mapping[str, Any] | None, scheduled: bool) -> str:
    """Why a run runs, for its name.

    Examples
    --------
    >>> reason_of({}, {"added": 12, "changed": 1, "removed": 0}, False)
    '12 added, 1 changed'
    >>> reason_of({}, {}, False), reason_of({}, None, True), reason_of({"reason": "new scanner"}, None, False)
    ('new data', 'schedule', 'new scanner')
    """
    if arrival is not None:
        counts = [f"{arrival[what]:,} {what}" for what in ("added", "changed", "removed") if arrival.get(what)]
        return arrival.get("reason") or ", ".join(counts) or "new data"
    return "schedule" if scheduled else options.get("reason", "by hand")


def results_url(base_url: str | None, dataset: str, run_id: str) -> str | None:
    """Where a run's files are served."""
    return f"{base_url.rstrip('/')}/results/{dataset}/{run_id}" if base_url else None


def take_over_waiting() -> int:
    """Cancel the runs of this deployment that wait for this one to end: what they came for lies in the folder already.

    Many arrivals during one audit so become one more. Nothing is lost: this run has not listed the files yet, and whatever
    arrives after this moment makes a run that is not cancelled. Only runs that would do the same are taken over.
    """
    from prefect import runtime
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.client.schemas.objects import StateType
    from prefect.states import Cancelled

    taken = 0
    with get_client(sync_client=True) as client:
        waiting = client.read_flow_runs(
            flow_run_filter=FlowRunFilter.model_validate(
                {
                    "deployment_id": {"any_": [runtime.deployment.id]},
                    "state": {"type": {"any_": [StateType.SCHEDULED]}},
                    "expected_start_time": {"before_": datetime.now(UTC).isoformat()},
                }
            )
        )
        for run in waiting:
            if str(run.id) != runtime.flow_run.id and _same_work(run.parameters, runtime.flow_run.parameters):
                client.set_flow_run_state(run.id, Cancelled(message=f"its news is part of run {runtime.flow_run.name}"))
                taken += 1
    return taken


def _same_work(one: Mapping[str, Any], two: Mapping[str, Any]) -> bool:
    def work(parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in parameters["options"].items() if name != "reason"}

    return work(one) == work(two)


def hand_back(run: UUID, why: str) -> None:
    """Let a run that was cut short, or never started, run once more; nothing if it is over."""
    from prefect.client.orchestration import get_client
    from prefect.states import Scheduled

    with get_client(sync_client=True) as client:
        state = client.read_flow_run(run).state
        if state is None or not (state.is_final() or state.is_scheduled()):
            # by force: a worker's own rules would keep a run that is being submitted
            client.set_flow_run_state(run, Scheduled(message=f"runs again: {why}"), force=True)


def revive(tags: Sequence[str]) -> int:
    """Schedule anew the runs with these tags that a worker took and never started: it died in between. Returns how many."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.client.schemas.objects import StateType

    with get_client(sync_client=True) as client:
        taken = client.read_flow_runs(
            flow_run_filter=FlowRunFilter.model_validate(
                {"tags": {"all_": list(tags)}, "state": {"type": {"any_": [StateType.PENDING]}}}
            )
        )
    lost = [run for run in taken if run.state and datetime.now(UTC) - run.state.timestamp > NEVER_STARTED]
    for run in lost:
        hand_back(run.id, "the worker that took it never started it")
    return len(lost)


def tell(store: Path, summary: Mapping[str, Any], operation: Operation) -> list[News]:
    """Tell what an audit changed: alerts that opened or closed."""
    from httpx import HTTPError

    dataset, when = summary["dataset"], _now()
    fresh = [
        item for item in settle(store, dataset, summary["alerts"], summary["run_id"], when) if item["occurred"] == when
    ]
    try:
        _emit(fresh, operation)
        sweep(store, dataset, operation)
    except HTTPError as error:  # the audit itself is done; the news lies in the outbox
        log.warning("the server did not take the news of %s (%s): it is sent later", dataset, error)
    return fresh


def sweep(store: Path, dataset: str, operation: Operation) -> int:
    """Bring what was said and did not arrive on its way again; returns how much still waits.

    Events that the server does not know are sent again, with their ids; news that it knows but that a channel did not get
    for a while goes to `deliver` directly, at most once an hour.
    """
    waiting = load_state(store, dataset)["outbox"]
    if not waiting:
        return 0
    known = known_events(item["id"] for item in waiting)
    done = [item["id"] for item in waiting if item["id"] in known and _arrived(store, item, operation)]
    forget(store, dataset, done)
    left = [item for item in waiting if item["id"] not in done]
    old = (datetime.now(UTC) - PATIENCE).isoformat()
    # an event on its way is not written down yet: it is not sent twice for that
    _emit([item for item in left if item["id"] not in known and item["occurred"] < old], operation)
    for item in left:
        if item["id"] in known and item["occurred"] < old and operation.deliver:
            _deliver(item, store, operation)
    return len(left)


def _arrived(store: Path, item: News, operation: Operation) -> bool:
    """Whether everybody who is to be told was told; below the level the event alone is the news."""
    if SEVERITIES.index(item["severity"]) < SEVERITIES.index(operation.level):
        return True
    return set(operation.channels) <= set(receipts(store, item["dataset"], item["id"]))


def _deliver(item: News, store: Path, operation: Operation) -> None:
    from prefect.deployments import run_deployment

    run_deployment(
        operation.deliver,
        parameters={"news": payload(item, operation), "channels": dict(operation.channels), "store": str(store)},
        timeout=0,
        idempotency_key=f"{item['id']} {datetime.now(UTC):%Y-%m-%d %H}",
        as_subflow=False,
    )


def payload(item: News, operation: Operation) -> dict[str, Any]:
    """What an event about an alert carries."""
    link = results_url(operation.base_url, item["dataset"], item["run_id"])
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


def tell_failure(flow: Any, flow_run: Any, state: Any) -> None:
    """Hook of a run that failed or crashed: an alert of its own, which the next finished audit closes. Never raises.

    (The engine passes these by place, a worker that finds the process dead by name.)
    """
    operation = operation_of(flow_run.parameters.get("operation"))
    if operation is None:
        return
    try:
        config = from_dict(flow_run.parameters["options"])
        store = Path(config.store).expanduser().resolve()
        words = (state.message or state.name).strip().splitlines()[-1]
        sentence = f"The audit of {config.dataset} did not finish: {words}"
        when = _now()
        waiting = record_failure(store, config.dataset, sentence, str(flow_run.id), when)
        _emit([item for item in waiting if item["occurred"] == when], operation)
    except Exception as error:  # noqa: BLE001 - a hook that raises hides what failed
        log.warning("the failure of run %s could not be told: %s", flow_run.name, error)


def _now() -> str:
    return datetime.now(UTC).isoformat()
