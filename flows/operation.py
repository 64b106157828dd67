"""Deployed runs: their names, and which waiting runs one takes over.

A plain `dataprops audit` uses none of this: its flow gets no `Operation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from tasks.pages import all_pages


@dataclass(frozen=True)
class Operation:
    """How a dataset is operated; small enough to be a deployment parameter.

    Attributes
    ----------
    level : str
        Lowest severity sent to the channels.
    channels : mapping
        Name -> notification block.
    base_url : str or None
        URL under which results are served.
    file : str or None
        Datasets file it was deployed from.
    """

    level: str = "warning"
    channels: Mapping[str, str] = field(default_factory=dict)
    base_url: str | None = None
    file: str | None = None


def operation_of(values: Mapping[str, Any] | None) -> Operation | None:
    """`Operation` from a deployment's parameters; unknown names (of a later version) are ignored."""
    known = {row.name for row in fields(Operation)}
    return None if values is None else Operation(**{name: value for name, value in values.items() if name in known})


def trigger_of(options: Mapping[str, Any], arrival: Mapping[str, Any] | None, scheduled: bool) -> str:
    """Why a run was started, for its name.

    Examples
    --------
    >>> trigger_of({}, {"added": 12, "changed": 1, "removed": 0}, False)
    '12 added, 1 changed'
    >>> trigger_of({}, {}, False), trigger_of({}, None, True), trigger_of({"reason": "new scanner"}, None, False)
    ('new data', 'schedule', 'new scanner')
    """
    if arrival is not None:
        counts = [f"{arrival[what]:,} {what}" for what in ("added", "changed", "removed") if arrival.get(what)]
        return arrival.get("reason") or ", ".join(counts) or "new data"
    return "schedule" if scheduled else options.get("reason", "by hand")


def results_url(base_url: str | None, dataset: str, run_id: str) -> str | None:
    """URL of a run's files."""
    return f"{base_url.rstrip('/')}/results/{dataset}/{run_id}" if base_url else None


def take_over_waiting() -> int:
    """Cancel the queued runs of this deployment that would do the same work: their new files are already in the folder.

    Many arrivals during one audit thus cause only one more run. Nothing is lost: this run has not listed the files yet, and later
    arrivals start runs that are not cancelled. Returns the number of cancelled runs.
    """
    from prefect import runtime
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.client.schemas.objects import StateType
    from prefect.states import Cancelled

    taken = 0
    with get_client(sync_client=True) as client:
        waiting = all_pages(
            client.read_flow_runs,
            flow_run_filter=FlowRunFilter.model_validate(
                {
                    "deployment_id": {"any_": [runtime.deployment.id]},
                    "state": {"type": {"any_": [StateType.SCHEDULED]}},
                    "expected_start_time": {"before_": datetime.now(UTC).isoformat()},
                }
            ),
        )
        for run in waiting:
            if str(run.id) != runtime.flow_run.id and _same_work(run.parameters, runtime.flow_run.parameters):
                client.set_flow_run_state(run.id, Cancelled(message=f"taken over by run {runtime.flow_run.name}"))
                taken += 1
    return taken


def _same_work(one: Mapping[str, Any], two: Mapping[str, Any]) -> bool:
    def work(parameters: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in parameters["options"].items() if name != "reason"}

    return work(one) == work(two)
