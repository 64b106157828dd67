"""The automations of a datasets file: new data starts an audit, alerts are delivered, a dead `serve` or `watch` is reported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from dataprops.checks.alerts import SEVERITIES
from dataprops.checks.open_alerts import CLOSED, OPENED
from deployments.datasets import DatasetEntry, Operations
from flows.operation import Operation
from tasks.events import ARRIVED, OPERATING, OPERATOR, STOPPED

if TYPE_CHECKING:
    from prefect.events.schemas.automations import AutomationCore

# `serve` and `watch` send a heartbeat every 30 s; without one for this long they are dead
SILENT = timedelta(minutes=5)
EVENT_PAYLOAD = {
    "__prefect_kind": "json",
    "value": {"__prefect_kind": "jinja", "template": "{{ event.payload | tojson }}"},
}


def wanted(
    operations: Operations,
    tags: tuple[str, ...],
    deployments: Mapping[str, UUID],
    blocks: Mapping[str, UUID],
    operation_for: Callable[[DatasetEntry], Operation],
) -> list[AutomationCore]:
    """The automations specified by the file."""
    rules = []
    deliver = deployments.get(f"deliver/{operations.project}")
    for dataset in operations.datasets:
        audit = deployments[f"audit/{dataset.name}"]
        rules.append(_arrivals(operations, dataset, tags, audit))
        if dataset.tell and deliver:
            rules.append(_alerts(operations, dataset, tags, deliver, operation_for(dataset)))
    if deliver:
        rules.append(_silent(operations, tags, blocks.values()))
    return rules


def _named(operations: Operations, what: str) -> str:
    return f"dataprops {operations.project}: {what}"


def _arrivals(operations: Operations, dataset: DatasetEntry, tags: tuple[str, ...], deployment: UUID) -> AutomationCore:
    from prefect.events.actions import RunDeployment
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    return AutomationCore(
        name=_named(operations, f"new data of {dataset.name}"),
        description="Starts an audit when a watcher, `dataprops notify` or another system reports new files.",
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
    operations: Operations, dataset: DatasetEntry, tags: tuple[str, ...], deliver: UUID, operation: Operation
) -> AutomationCore:
    from prefect.events.actions import RunDeployment
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    severe = list(SEVERITIES[SEVERITIES.index(dataset.level) :])
    return AutomationCore(
        name=_named(operations, f"alerts of {dataset.name}"),
        description=f"Delivers alerts at or above {dataset.level} when they open and when they close.",
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


def _silent(operations: Operations, tags: tuple[str, ...], blocks: Iterable[UUID]) -> AutomationCore:
    """Lets the server report a dead `serve` or `watch`, which report everything else."""
    from prefect.events.actions import SendNotification
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    minutes = SILENT.total_seconds() / 60
    body = (
        f"`dataprops serve` or `watch` of {operations.file.name} ({{{{ labels.prefect.resource.id }}}}) sent its last"
        f" heartbeat {minutes:g} minutes ago: audits may be late, and alerts wait until it runs again."
    )
    subject = f"[critical] {operations.project}: the supervising process is down"
    return AutomationCore(
        name=_named(operations, "is looked after"),
        description="Reports that the process supervising late audits and undelivered alerts has died.",
        tags=list(tags),
        trigger=EventTrigger(
            after={OPERATING},
            expect={OPERATING, STOPPED},
            match={"prefect.resource.id": f"{OPERATOR}.{operations.project}.*"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=SILENT,
        ),
        actions=[SendNotification(block_document_id=block, subject=subject, body=body) for block in blocks],
    )


def comparable(rule: Any) -> dict[str, Any]:
    """An automation without server-side fields (ids, enabled state), for comparison."""
    return _without_ids(rule.model_dump(mode="json", include={"name", "description", "tags", "trigger", "actions"}))


def _without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_ids(item) for key, item in value.items() if key != "id" and item is not None}
    if isinstance(value, list):
        items = [_without_ids(item) for item in value]
        # the server returns sets in arbitrary order
        return sorted(items, key=str) if all(isinstance(item, str) for item in items) else items
    return value
