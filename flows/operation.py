"""How a run fits among the others when it runs as a deployment: its name, and what it takes over.

A plain `dataprops audit` does none of this: its flow gets no `Operation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True)
class Operation:
    """How a dataset is operated: small, so that it travels as a deployment's parameter.

    Attributes
    ----------
    level : str
        Severity from which on alerts go to the channels.
    channels : mapping
        Name -> notification block.
    base_url : str or None
        Where results are served, for links.
    file : str or None
        The file that it was deployed from.
    """

    level: str = "warning"
    channels: Mapping[str, str] = field(default_factory=dict)
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
