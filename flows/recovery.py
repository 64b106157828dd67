"""Runs whose process died, or never started: rescheduled, or marked as crashed so that others can start.

Prefect's own mechanism, an automation on missing heartbeats, loses its state when the server restarts, and a server that was down
has missed heartbeats of live runs. So long-running processes do it instead (`dataprops serve` and `watch`).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from tasks.events import newest_event
from tasks.pages import all_pages

log = logging.getLogger(__name__)

NEVER_STARTED = timedelta(minutes=5)  # after a worker took a run; starting the process takes seconds
# runs send a heartbeat every 30 s (`deployments.deploy.RUN_ENVIRONMENT`)
HEARTBEAT = "prefect.flow-run.heartbeat"
SILENT = timedelta(minutes=5)
# a worker's message about a run that it could not start because the server did not answer (Prefect's client retries for a minute);
# other errors (a missing command) would come again
NOT_TAKEN = re.compile(
    r"Failed to submit flow run to infrastructure: "
    r"(PrefectHTTPStatusError: Server error|(Read|Write|Pool|Connect)Timeout|(Read|Write|Connect|RemoteProtocol)Error)\b"
)
TAKEN_UP = timedelta(hours=1)  # age up to which such a run is rescheduled
# consecutive checks: after server downtime or a clock change, live runs send a heartbeat before these are over
LOOKS = 4

# apparently silent runs -> last heartbeat, and the number of consecutive checks at which it was the last
Suspects = dict[UUID, tuple[str, int]]


def hand_back(run: UUID, why: str) -> None:
    """Reschedule a run that was interrupted or never started; no effect if it has ended."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        state = client.read_flow_run(run).state
        if state is None or not (state.is_final() or state.is_scheduled()):
            _reschedule(client, run, why)


def _reschedule(client: Any, run: UUID, why: str) -> None:
    from prefect.states import Scheduled

    # force: orchestration rules would reject this for a run being submitted
    client.set_flow_run_state(run, Scheduled(message=f"rescheduled: {why}"), force=True)


def recover(tags: Sequence[str], suspects: Suspects) -> int:
    """Mark runs with these tags that lost their heartbeat as crashed, and reschedule those a worker took but never started.

    Runs that crashed at submission because the server did not answer are rescheduled too: Prefect gives them up (3.9).

    A lost run is left alone while another run of its deployment is active: its concurrency slot was released when its lease
    expired, and Prefect 3.9 would release it again, admitting one run too many.

    Parameters
    ----------
    tags : sequence of str
    suspects : dict
        Updated in place; pass the same dict at every call, about every 15 s. Empty afterwards if no run seems silent.

    Returns
    -------
    int
        Number of runs marked or rescheduled.
    """
    from prefect.client.orchestration import get_client
    from prefect.states import Crashed

    running, pending = _runs(tags, "RUNNING"), _runs(tags, "PENDING")
    before = dict(suspects)
    suspects.clear()
    silent = _silent(running, before, suspects)
    unstarted = _unstarted(pending, before, suspects)
    lost = {run.id for run in (*silent, *unstarted)}
    under_way = {run.deployment_id for run in (*running, *pending) if run.id not in lost}
    silent, unstarted = ([run for run in runs if run.deployment_id not in under_way] for runs in (silent, unstarted))
    for run in silent:
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(run.id, Crashed(message="heartbeat lost"))
        log.warning("run %s lost its heartbeat: marked as crashed", run.name)
        del suspects[run.id]
    for run in unstarted:
        hand_back(run.id, "its worker never started it")
        del suspects[run.id]
    not_taken = _not_taken(_runs(tags, "CRASHED", newest=True))  # those of months ago remain on the server
    for run in not_taken:
        log.warning("run %s crashed at submission, the server did not answer: rescheduled", run.name)
        with get_client(sync_client=True) as client:
            _reschedule(client, run.id, "the server did not answer")
    return len(silent) + len(unstarted) + len(not_taken)


def _not_taken(crashed: Sequence[Any]) -> list[Any]:
    """Runs that crashed lately at submission, because the server did not answer."""
    return [
        run
        for run in crashed
        if abs(datetime.now(UTC) - run.state.timestamp) < TAKEN_UP and NOT_TAKEN.match(run.state.message or "")
    ]


def _unstarted(pending: Sequence[Any], before: Suspects, suspects: Suspects) -> list[Any]:
    """Runs taken by a worker but not started within `NEVER_STARTED`, at `LOOKS` consecutive checks (a clock jump ages all of them)."""
    for run in pending:
        took = run.state.timestamp
        if abs(datetime.now(UTC) - took) > NEVER_STARTED:
            _look_at(run, took.isoformat(), before, suspects)
    return [run for run in pending if suspects.get(run.id, ("", 0))[1] >= LOOKS]


def _look_at(run: Any, last: str, before: Suspects, suspects: Suspects) -> None:
    known, looks = before.get(run.id, (last, 0))
    suspects[run.id] = (last, looks + 1 if known == last else 1)


def _silent(running: Sequence[Any], before: Suspects, suspects: Suspects) -> list[Any]:
    """Running runs without a heartbeat for `SILENT`, at `LOOKS` consecutive checks.

    A run whose deployment never sent a heartbeat is skipped: its events may not reach the server. If the newest heartbeat is ahead
    of the clock, one of the two clocks is wrong: then it must not change between checks, and the newest one before now must be old.
    """
    for run in running:
        began = run.state.timestamp
        whose, now = f"prefect.flow-run.{run.id}", datetime.now(UTC)
        sign = newest_event(HEARTBEAT, resource=whose)
        if sign is None and newest_event(HEARTBEAT, related=f"prefect.deployment.{run.deployment_id}") is None:
            continue
        signs = [sign or began.isoformat()]
        if datetime.fromisoformat(signs[0]) > now:
            signs += [until] if (until := newest_event(HEARTBEAT, resource=whose, until=now.isoformat())) else []
        if any(timedelta(0) <= now - moment < SILENT for moment in (*map(datetime.fromisoformat, signs), began)):
            continue
        _look_at(run, " ".join(signs), before, suspects)
    return [run for run in running if suspects.get(run.id, ("", 0))[1] >= LOOKS]


def _runs(tags: Sequence[str], state: str, *, newest: bool = False) -> list[Any]:
    """Runs in a state, newest first: all, or the `newest` page."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.client.schemas.sorting import FlowRunSort

    query = {"tags": {"all_": list(tags)}, "state": {"type": {"any_": [state]}}}
    with get_client(sync_client=True) as client:
        read = partial(
            client.read_flow_runs,
            flow_run_filter=FlowRunFilter.model_validate(query),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        )
        return read() if newest else all_pages(read)
