"""Events to the Prefect server, over HTTP and with an answer: the sender knows whether the server accepted it.

(Prefect's own `emit_event` puts an event into a queue of a thread: a process that is killed next has sent nothing and knows
nothing.) The same call without Prefect is one POST; deployments/README.md shows it.
"""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

ARRIVED = "dataset.arrived"
# of a process that stays: it is alive; it ends on request
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
        A UUID; the same one when the same thing is said again.
    labels : mapping, optional
        More labels of the resource, which an automation can match.
    """
    return _event(name, {**_resource(f"dataset.{dataset}", dataset), **(labels or {})}, payload, id)


def operator_event(name: str, project: str) -> Event:
    """An event whose resource is the process of this machine that operates a project (`dataprops serve`, `watch`)."""
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
    """Hand events to the server; returns when it took them.

    Raises
    ------
    httpx.HTTPError
        If it did not.
    """
    from prefect.client.orchestration import get_client

    body = list(events)
    if body:
        with get_client(sync_client=True) as client:
            client.request("POST", "/events", json=body).raise_for_status()


def known_events(ids: Iterable[str]) -> set[str]:
    """Those of the ids that the server has stored."""
    wanted = list(ids)
    found = _find({"id": {"id": wanted}}, min(len(wanted), 200)) if wanted else []
    return {str(event["id"]) for event in found}


def newest_event(
    name: str, resource: str | None = None, related: str | None = None, until: str = _FUTURE
) -> str | None:
    """When the newest event of a name until a moment occurred (ISO 8601), of a resource or with a related one; None: there is none."""
    query: dict[str, Any] = {"event": {"name": [name]}, "order": "DESC"}
    if resource:
        query["resource"] = {"id": [resource]}
    if related:
        query["related"] = {"id": [related]}
    return next((event["occurred"] for event in _find(query, 1, until)), None)


def _find(query: Mapping[str, Any], limit: int, until: str = _FUTURE) -> list[Event]:
    from prefect.client.orchestration import get_client

    # without a time the server looks at the last day only
    when = {"since": "2000-01-01T00:00:00Z", "until": until}
    with get_client(sync_client=True) as client:
        answer = client.request("POST", "/events/filter", json={"filter": {**query, "occurred": when}, "limit": limit})
        answer.raise_for_status()
        return answer.json()["events"]
