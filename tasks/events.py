"""Events to the Prefect server over HTTP, synchronously: the sender knows whether the server accepted them.

Prefect's own `emit_event` only queues an event in a thread; it is lost if the process is killed. The same call without Prefect is
one POST, see deployments/README.md.
"""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

ARRIVED = "dataset.arrived"
# of a long-running process: it is alive; it was stopped on request
OPERATING, STOPPED = "dataprops.operating", "dataprops.stopped"
OPERATOR = "dataprops.operator"
Event = dict[str, Any]

_FUTURE = "2100-01-01T00:00:00Z"


def event(
    name: str, dataset: str, payload: Mapping[str, Any], id: str | None = None, labels: Mapping[str, str] | None = None
) -> Event:
    """An event whose resource is the dataset.

    Parameters
    ----------
    name : str
        E.g. "dataset.arrived".
    dataset : str
    payload : mapping
        Plain values.
    id : str, optional
        A UUID; repeat it when resending the same event.
    labels : mapping, optional
        Further resource labels, which an automation can match.
    """
    return _event(name, {**_resource(f"dataset.{dataset}", dataset), **(labels or {})}, payload, id)


def operator_event(name: str, project: str) -> Event:
    """An event whose resource is this machine's long-running process of a project (`dataprops serve`, `watch`)."""
    machine = socket.gethostname()
    return _event(name, _resource(f"{OPERATOR}.{project}.{machine}", f"{project} on {machine}"), {})


def _resource(id: str, name: str) -> dict[str, str]:
    return {"prefect.resource.id": id, "prefect.resource.name": name}


def _event(name: str, resource: Mapping[str, str], payload: Mapping[str, Any], id: str | None = None) -> Event:
    return {
        "id": id or str(uuid.uuid4()),
        "event": name,
        "occurred": datetime.now(UTC).isoformat(),
        "resource": dict(resource),
        "payload": dict(payload),
    }


def send_events(events: Iterable[Event]) -> None:
    """Send events to the server; returns once it has accepted them.

    Raises
    ------
    httpx.HTTPError
        If it did not accept them.
    """
    from prefect.client.orchestration import get_client

    body = list(events)
    if body:
        with get_client(sync_client=True) as client:
            client.request("POST", "/events", json=body).raise_for_status()


def known_events(ids: Iterable[str]) -> set[str]:
    """The subset of the ids that the server has stored."""
    wanted = list(ids)
    found = _find({"id": {"id": wanted}}, min(len(wanted), 200)) if wanted else []
    return {str(event["id"]) for event in found}


def newest_event(
    name: str, resource: str | None = None, related: str | None = None, until: str = _FUTURE
) -> str | None:
    """Time (ISO 8601) of the newest event of a name up to `until`, filtered by resource or related resource; None if there is none."""
    query: dict[str, Any] = {"event": {"name": [name]}, "order": "DESC"}
    if resource:
        query["resource"] = {"id": [resource]}
    if related:
        query["related"] = {"id": [related]}
    return next((event["occurred"] for event in _find(query, 1, until)), None)


def _find(query: Mapping[str, Any], limit: int, until: str = _FUTURE) -> list[Event]:
    from prefect.client.orchestration import get_client

    # without a range the server searches only the last day
    when = {"since": "2000-01-01T00:00:00Z", "until": until}
    with get_client(sync_client=True) as client:
        answer = client.request("POST", "/events/filter", json={"filter": {**query, "occurred": when}, "limit": limit})
        answer.raise_for_status()
        return answer.json()["events"]
