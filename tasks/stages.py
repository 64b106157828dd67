"""Each stage of the library as one Prefect task, run in the flow's process.

Nothing is cached or persisted by Prefect: a stage reads and writes files of the run, and finds by content what is done already.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from dataprops.store import Run
from dataprops.tools import Tools


def call_as_task(stage: Callable[..., Any], run: Run, tools: Tools) -> Any:
    """Run a stage as a task that carries its name."""

    @task(name=stage.__name__, task_run_name=stage.__name__, description=stage.__doc__, cache_policy=NO_CACHE)
    def run_stage() -> Any:
        return stage(run, tools)

    return run_stage()
