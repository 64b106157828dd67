"""The automations of a file of datasets: new data starts an audit, alerts are delivered, what is late or dead is noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from dataprops.alert_state import CLOSED, OPENED
from dataprops.alerts import SEVERITIES
from deployments.datasets import Dataset, Operations
from flows.operation import Operation
from tasks.events import ARRIVED

if TYPE_CHECKING:
    from prefect.events.schemas.automations import AutomationCore

# a run tells every 30 s that it lives; one that was silent for so long is dead with its machine
SILENT = timedelta(minutes=5)
EVENT_PAYLOAD = {
    "__prefect_kind": "json",
    "value": {"__prefect_kind": "jinja", "template": "{{ event.payload | tojson }}"},
}
HEARTBEAT = "prefect.flow-run.heartbeat"
STARTED_OR_OVER = ("Running", "Completed", "Failed", "Crashed", "Cancelled", "Cancelling", "AwaitingConcurrencySlot")


def wanted(
    operations: Operations,
    tags: tuple[str, ...],
    deployments: Mapping[str, UUID],
    blocks: Mapping[str, UUID],
    operation_for: Callable[[Dataset], Operation],
) -> list[AutomationCore]:
    """The automations that the file asks for."""
    rules = []
    deliver = deployments.get(f"deliver/{operations.project}")
    for dataset in operations.datasets:
        audit = deployments[f"audit/{dataset.name}"]
        rules.append(_arrivals(operations, dataset, tags, audit))
        rules.append(_dead(operations, dataset.name, tags, audit, [blocks[name] for name in dataset.tell]))
        if dataset.tell and deliver:
            rules.append(_alerts(operations, dataset, tags, deliver, operation_for(dataset)))
            rules.append(_late(operations, dataset, tags, audit, blocks))
    if deliver:
        rules.append(_dead(operations, f"the delivery of {operations.project}", tags, deliver, ()))
    return rules


def _named(operations: Operations, what: str) -> str:
    return f"dataprops {operations.project}: {what}"


def _arrivals(operations: Operations, dataset: Dataset, tags: tuple[str, ...], deployment: UUID) -> AutomationCore:
    from prefect.events.actions import RunDeployment
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    return AutomationCore(
        name=_named(operations, f"new data of {dataset.name}"),
        description="Starts an audit when a watcher, `dataprops notify` or anything else says that files arrived.",
        tags=list(tags),
        trigger=EventTrigger(
            expect={ARRIVED},
            match={"prefect.resource.id": f"dataset.{dataset.name}"},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[RunDeployment(deployment_id=deployment, parameters={"arrival": EVENT_PAYLOAD})],
    )


def _alerts(
    operations: Operations, dataset: Dataset, tags: tuple[str, ...], deliver: UUID, operation: Operation
) -> AutomationCore:
    from prefect.events.actions import RunDeployment
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    severe = list(SEVERITIES[SEVERITIES.index(dataset.level) :])
    return AutomationCore(
        name=_named(operations, f"alerts of {dataset.name}"),
        description=f"Delivers alerts from {dataset.level} on, when they open and when they close.",
        tags=list(tags),
        trigger=EventTrigger(
            expect={OPENED, CLOSED},
            match={"prefect.resource.id": f"dataset.{dataset.name}", "dataprops.severity": severe},
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[
            RunDeployment(
                deployment_id=deliver, parameters={"news": EVENT_PAYLOAD, "channels": dict(operation.channels)}
            )
        ],
    )


def _late(
    operations: Operations,
    dataset: Dataset,
    tags: tuple[str, ...],
    deployment: UUID,
    blocks: Mapping[str, UUID],
) -> AutomationCore:
    """The server itself sends this one: what is late is late because no worker is there that could."""
    from prefect.events.actions import SendNotification
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    subject = f"[critical] {dataset.name}: audit_late"
    body = (
        f"An audit of {dataset.name} did not start within {dataset.late} minutes: is a worker of the pool {operations.pool!r}"
        " running? Run: {{ flow_run.name }}"
    )
    return AutomationCore(
        name=_named(operations, f"late audits of {dataset.name}"),
        description="Tells when a run did not start in time.",
        tags=list(tags),
        trigger=EventTrigger(
            after={"prefect.flow-run.Late"},
            expect={f"prefect.flow-run.{state}" for state in STARTED_OR_OVER},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related=_of(deployment),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(minutes=dataset.late),
        ),
        actions=[SendNotification(block_document_id=blocks[name], subject=subject, body=body) for name in dataset.tell],
    )


def _dead(
    operations: Operations, name: str, tags: tuple[str, ...], deployment: UUID, blocks: Iterable[UUID]
) -> AutomationCore:
    """A run whose machine died would stay Running for ever, and keep its dataset's only place. Told by the server too."""
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState, SendNotification
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    over = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Crashed", "Cancelled", "Cancelling")}
    minutes = int(SILENT.total_seconds() // 60)
    body = f"A run of {name} stopped telling that it lives {minutes} minutes ago and counts as crashed: {{{{ flow_run.name }}}}"
    return AutomationCore(
        name=_named(operations, f"dead runs of {name}"),
        description="Marks runs as crashed that stopped telling that they live, so that others may start.",
        tags=list(tags),
        trigger=EventTrigger(
            after={HEARTBEAT},
            expect={HEARTBEAT, *over},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related=_of(deployment),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=SILENT,
        ),
        actions=[
            ChangeFlowRunState(state=StateType.CRASHED, message="it stopped telling that it lives"),
            *(
                SendNotification(block_document_id=block, subject=f"[critical] {name}: audit_dead", body=body)
                for block in blocks
            ),
        ],
    )


def _of(deployment: UUID) -> dict[str, str]:
    """Matches events of runs of a deployment."""
    return {"prefect.resource.id": f"prefect.deployment.{deployment}", "prefect.resource.role": "deployment"}


def comparable(rule: Any) -> dict[str, Any]:
    """An automation without what the server adds: ids, and whether a person switched it off."""
    return _without_ids(rule.model_dump(mode="json", include={"name", "description", "tags", "trigger", "actions"}))


def _without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_ids(item) for key, item in value.items() if key != "id" and item is not None}
    if isinstance(value, list):
        items = [_without_ids(item) for item in value]
        # sets come back in any order
        return sorted(items, key=str) if all(isinstance(item, str) for item in items) else items
    return value
