"""Schedules that a wrong clock silenced.

Prefect's server (3.9) plans the next runs of a schedule, three at least, and plans no more while so many lie ahead. What it planned
while its clock was ahead by months stays planned after the clock was set right, and nothing runs until then, which no rule reports:
no run is late. Runs that lie beyond what is due next are deleted here, and the server plans anew within a minute.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

log = logging.getLogger(__name__)

PLANNED = 3  # runs that the server keeps planned for each schedule (PREFECT_SERVER_SERVICES_SCHEDULER_MIN_RUNS)


def plan_anew(tags: Sequence[str]) -> int:
    """Delete planned runs of deployments with these tags where the first lies beyond the next three dates of the schedule.

    Returns
    -------
    int
        Runs that were deleted.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter
    from prefect.client.schemas.sorting import FlowRunSort

    now, gone = datetime.now(UTC), 0
    with get_client(sync_client=True) as client:
        mine = DeploymentFilter.model_validate({"tags": {"all_": list(tags)}})
        for deployment in client.read_deployments(deployment_filter=mine):
            if (last := _last_due(deployment, now)) is None:
                continue
            query = {
                "deployment_id": {"any_": [deployment.id]},
                "state": {"type": {"any_": ["SCHEDULED"]}},
                "expected_start_time": {"after_": now.isoformat()},
            }
            runs = client.read_flow_runs(
                flow_run_filter=FlowRunFilter.model_validate(query), sort=FlowRunSort.EXPECTED_START_TIME_ASC
            )
            planned = [run for run in runs if run.auto_scheduled]
            first = planned[0].expected_start_time if planned else None
            if first is None or first <= last:
                continue
            for run in planned:
                client.delete_flow_run(run.id)
            gone += len(planned)
            log.warning(
                "no run of %s was planned before %s, as the server's clock was ahead: it is planned anew",
                deployment.name,
                first.isoformat(),
            )
    return gone


def _last_due(deployment: Any, now: datetime) -> datetime | None:
    """The third date from now on that a schedule wants a run at; None without an active one."""
    active = [row.schedule for row in deployment.schedules if row.active and hasattr(row.schedule, "cron")]
    if deployment.paused or len(active) != 1:
        return None
    dates = due(active[0].cron, active[0].timezone, now)
    return dates[-1] if dates else None


def due(cron: str, zone: str | None, now: datetime, many: int = PLANNED) -> list[datetime]:
    """The next dates of a schedule; none of one that is never due (a 30th of February), or that this machine cannot read."""
    from prefect.server.schemas.schedules import CronSchedule

    try:
        return asyncio.run(CronSchedule(cron=cron, timezone=zone).get_dates(many, now))
    except ValueError:  # pydantic's and croniter's errors are ones
        return []
