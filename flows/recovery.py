"""Runs that were lost with the process that ran them: run again, or marked as crashed so that others may start.

Prefect's own means is an automation that waits for the silence of a run. It forgets what it waits for when the server restarts,
and a server that was away hears of nobody; so this is done by the processes that stay (`dataprops serve` and `watch`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from tasks.events import newest_event

log = logging.getLogger(__name__)

NEVER_STARTED = timedelta(minutes=5)  # for a run that a worker took; to start a process takes seconds
# runs send a heartbeat every 30 s (`deployments.deploy.RUN_ENVIRONMENT`)
HEARTBEAT = "prefect.flow-run.heartbeat"
SILENT = timedelta(minutes=5)
# a server that was down or a wrong clock makes live runs look silent: they send a heartbeat before so many looks are over
LOOKS = 4

# runs that seem silent -> their last sign of life, and at how many looks in a row it was the last
Suspects = dict[UUID, tuple[str, int]]


def hand_back(run: UUID, why: str) -> None:
    """Reschedule a run that was cut short or never started; no effect if it has ended."""
    from prefect.client.orchestration import get_client
    from prefect.states import Scheduled

    with get_client(sync_client=True) as client:
        state = client.read_flow_run(run).state
        if state is None or not (state.is_final() or state.is_scheduled()):
            # by force: a worker's own rules would keep a run that is being submitted
            client.set_flow_run_state(run, Scheduled(message=f"runs again: {why}"), force=True)


def recover(tags: Sequence[str], suspects: Suspects) -> int:
    """Mark runs with these tags whose heartbeat is lost as crashed, and reschedule those that a worker took and never started.
    Returns their number.

    A lost run waits while another of its deployment is under way: the place of the lost one was given on when its lease ended, and
    the server would free it a second time (Prefect 3.9) and let in one too many.

    Parameters
    ----------
    tags : sequence of str
    suspects : dict
        The same at every call, and calls about 15 s apart; empty afterwards if nobody seems silent.
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
        hand_back(run.id, "the worker that took it never started it")
        del suspects[run.id]
    return len(silent) + len(unstarted)


def _unstarted(pending: Sequence[Any], before: Suspects, suspects: Suspects) -> list[Any]:
    """Runs that a worker took long ago and did not start, at several looks in a row: a clock that jumps makes all of them old."""
    for run in pending:
        took = run.state.timestamp
        if abs(datetime.now(UTC) - took) > NEVER_STARTED:
            _look_at(run, took.isoformat(), before, suspects)
    return [run for run in pending if suspects.get(run.id, ("", 0))[1] >= LOOKS]


def _look_at(run: Any, last: str, before: Suspects, suspects: Suspects) -> None:
    known, looks = before.get(run.id, (last, 0))
    suspects[run.id] = (last, looks + 1 if known == last else 1)


def _silent(running: Sequence[Any], before: Suspects, suspects: Suspects) -> list[Any]:
    """Running runs without a heartbeat for long, at several looks in a row.

    A run whose deployment never sent a heartbeat is left alone: its events may not come through. A heartbeat that lies ahead of the
    clock tells nothing of when it was, as one of the two clocks is wrong: the newest of all must stay the same, and the newest until
    now be old.
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


def _runs(tags: Sequence[str], state: str) -> list[Any]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter

    query = {"tags": {"all_": list(tags)}, "state": {"type": {"any_": [state]}}}
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(query))
