"""Each stage of the library as one Prefect task, run in the flow's process.

Prefect caches and persists nothing: stages read and write files of the run, and recognise finished work by content hash.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from dataprops.audit.workspace import Run
from dataprops.util.tools import Tools


def said(result: Any) -> str:
    """A stage's record as one line of log text."""
    values = result if isinstance(result, dict) else asdict(result) if is_dataclass(result) else {"result": result}
    numbers = {name: value for name, value in values.items() if isinstance(value, int | str) and value != ""}
    return ", ".join(
        f"{name.replace('_', ' ')} {value:,}" if type(value) is int else f"{name} {value}"
        for name, value in numbers.items()
    )


def call_as_task(stage: Callable[..., Any], run: Run, tools: Tools) -> Any:
    """Run a stage as a task of the same name."""

    @task(name=stage.__name__, task_run_name=stage.__name__, description=stage.__doc__, cache_policy=NO_CACHE)
    def run_stage() -> Any:
        result = stage(run, tools)
        get_run_logger().info("%s: %s", stage.__name__, said(result))
        return result

    return run_stage()
