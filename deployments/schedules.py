"""Recovery of schedules after the server's clock was wrong.

Prefect's server (3.9) schedules at least the next three runs, and no more while that many lie ahead. Runs scheduled while its clock
was months ahead remain after the clock is corrected, and nothing runs until then, without any late run. Runs beyond the next due
dates are deleted here, and the server reschedules within a minute.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from tasks.pages import all_pages

log = logging.getLogger(__name__)

PLANNED = 3  # runs that the server keeps scheduled (PREFECT_SERVER_SERVICES_SCHEDULER_MIN_RUNS)


def plan_anew(tags: Sequence[str]) -> int:
    """Delete scheduled runs of deployments with these tags if the first is beyond the schedule's next three dates.

    Returns
    -------
    int
        Number of deleted runs.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import DeploymentFilter, FlowRunFilter
    from prefect.client.schemas.sorting import FlowRunSort

    now, gone = datetime.now(UTC), 0
    with get_client(sync_client=True) as client:
        mine = DeploymentFilter.model_validate({"tags": {"all_": list(tags)}})
        query = {
            "tags": {"all_": list(tags)},
            "state": {"type": {"any_": ["SCHEDULED"]}},
            "expected_start_time": {"after_": now.isoformat()},
        }
        planned: dict[Any, list[Any]] = defaultdict(list)
        for run in all_pages(
            client.read_flow_runs,
            flow_run_filter=FlowRunFilter.model_validate(query),
            sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        ):
            if run.auto_scheduled:
                planned[run.deployment_id].append(run)
        for deployment in all_pages(client.read_deployments, deployment_filter=mine):
            runs = planned[deployment.id]
            if not runs or (last := _last_due(deployment, now)) is None or runs[0].expected_start_time <= last:
                continue
            for run in runs:
                client.delete_flow_run(run.id)
            gone += len(runs)
            log.warning(
                "no run of %s was scheduled before %s, because the server's clock was ahead: rescheduling",
                deployment.name,
                runs[0].expected_start_time.isoformat(),
            )
    return gone


def _last_due(deployment: Any, now: datetime) -> datetime | None:
    """The third date from now of a deployment's schedule; None without an active schedule."""
    active = [row.schedule for row in deployment.schedules if row.active and hasattr(row.schedule, "cron")]
    if deployment.paused or len(active) != 1:
        return None
    dates = due(active[0].cron, active[0].timezone, now)
    return dates[-1] if dates else None


def due(cron: str, zone: str | None, now: datetime, many: int = PLANNED) -> list[datetime]:
    """The next dates of a schedule; empty if it is never due (30 February) or invalid."""
    from prefect.server.schemas.schedules import CronSchedule

    try:
        return asyncio.run(CronSchedule(cron=cron, timezone=zone).get_dates(many, now))
    except ValueError:  # including pydantic's and croniter's errors
        return []
