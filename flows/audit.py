"""The Prefect flow `audit`: each stage is a task, its work runs on a Dask cluster."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, runtime

from dataprops.audit.composition import run_stages
from dataprops.audit.config import from_dict
from dataprops.store.folder import load_summary, open_store
from dataprops.util.tools import Progress, no_progress
from flows.notifications import tell, tell_failure
from flows.operation import operation_of, results_url, take_over_waiting, trigger_of
from tasks.artifacts import publish_artifacts, publish_links
from tasks.cluster import connect, device_of
from tasks.parallel import dask_tools
from tasks.progress import prefect_progress
from tasks.stages import call_as_task

LOCK_PATIENCE = 3600.0  # seconds a deployed audit waits for a manually started one


def _reason(options: dict[str, Any], arrival: dict[str, Any] | None) -> str:
    return trigger_of(options, arrival, "auto-scheduled" in runtime.flow_run.tags)


def _run_name() -> str:
    given = runtime.flow_run.parameters
    return f"{from_dict(given['options']).dataset} ({_reason(given['options'], given.get('arrival'))})"


@flow(
    name="audit",
    flow_run_name=_run_name,
    validate_parameters=False,
    on_failure=[tell_failure],
)
def audit(
    options: dict[str, Any],
    cluster: str = "local",
    workers: int | None = None,
    arrival: dict[str, Any] | None = None,
    operation: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Audit a dataset.

    Parameters
    ----------
    options : dict
        Fields of `dataprops.audit.config.AuditConfig`; `source` is required.
    cluster : str
        See `tasks.cluster.connect`.
    workers : int, optional
        Threads or processes of a local cluster.
    arrival : dict, optional
        Payload of the event that triggered the run: counts of new files.
    operation : dict, optional
        Fields of `flows.operation.Operation`, set by a deployment; enables notifications when alerts open and close.

    Returns
    -------
    dict
        The summary.
    """
    operated = operation_of(operation)
    config = from_dict({**options, "reason": _reason(options, arrival)})
    store = open_store(config.store)
    if operated is not None and runtime.deployment.id and (taken := take_over_waiting()):
        get_run_logger().info("took over %d waiting runs of this dataset", taken)
    with connect(cluster, store, workers) as client:
        tools = dask_tools(client, prefect_progress(terminal()), device_of(cluster))
        wait = 0.0 if operated is None else LOCK_PATIENCE
        results = run_stages(config, tools, call_as_task, wait, _spent)
    summary = load_summary(results)
    link = results_url(operated and operated.base_url, summary["dataset"], summary["run_id"])
    publish_artifacts(Path(results), summary, link)
    if link:
        publish_links(link, summary["dataset"])
    if operated is not None:
        tell(store, summary, operated)
    return summary


_terminal: Progress = no_progress
_spent: dict[str, float] = {}


def took(seconds: Mapping[str, float]) -> None:
    """Add stage times (seconds, by name) spent before the flow starts, where a command decodes ahead."""
    _spent.clear()
    _spent.update(seconds)


def terminal() -> Progress:
    """The progress display used in addition to the UI."""
    return _terminal


def show_progress_on(progress: Progress) -> None:
    """Also show progress on a terminal, for a command that runs the flow in its own process."""
    global _terminal
    _terminal = progress
