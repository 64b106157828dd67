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
    silent = _silent(running, suspects)
    unstarted = [run for run in pending if datetime.now(UTC) - run.state.timestamp > NEVER_STARTED]
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
    return len(silent) + len(unstarted)


def _silent(running: Sequence[Any], suspects: Suspects) -> list[Any]:
    """Running runs without a heartbeat for long, at several looks in a row.

    A run whose deployment never sent a heartbeat is left alone: its events may not come through.
    """
    before = dict(suspects)
    suspects.clear()
    for run in running:
        began = run.state.timestamp
        sign = newest_event(HEARTBEAT, resource=f"prefect.flow-run.{run.id}")
        if sign is None and newest_event(HEARTBEAT, related=f"prefect.deployment.{run.deployment_id}") is None:
            continue
        last = sign or began.isoformat()
        if datetime.now(UTC) - max(datetime.fromisoformat(last), began) < SILENT:
            continue
        known, looks = before.get(run.id, (last, 0))
        suspects[run.id] = (last, looks + 1 if known == last else 1)
    return [run for run in running if suspects.get(run.id, ("", 0))[1] >= LOOKS]


def _runs(tags: Sequence[str], state: str) -> list[Any]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter

    query = {"tags": {"all_": list(tags)}, "state": {"type": {"any_": [state]}}}
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(query))
