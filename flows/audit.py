"""The Prefect flow `audit`: the stages of an audit as tasks, their pieces on a Dask cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow, runtime

from dataprops.audit import load_summary, run_stages
from dataprops.config import from_dict
from dataprops.store import open_store
from dataprops.tools import Progress, no_progress
from tasks.artifacts import publish_artifacts
from tasks.cluster import connect, device_of
from tasks.parallel import dask_tools
from tasks.progress import prefect_progress
from tasks.stages import call_as_task


def _run_name() -> str:
    options = runtime.flow_run.parameters["options"]
    return f"{from_dict(options).dataset} ({options.get('reason', 'by hand')})"


@flow(name="audit", flow_run_name=_run_name, validate_parameters=False)
def audit(options: dict[str, Any], cluster: str = "local", workers: int | None = None) -> dict[str, Any]:
    """Audit a dataset.

    Parameters
    ----------
    options : dict
        Fields of `dataprops.config.AuditConfig`; `source` at least.
    cluster : str
        See `tasks.cluster.connect`.
    workers : int, optional
        Threads or processes of a local cluster.

    Returns
    -------
    dict
        The summary.
    """
    config = from_dict(options)
    store = open_store(config.store)
    with connect(cluster, store, workers) as client:
        tools = dask_tools(client, prefect_progress(terminal()), device_of(cluster))
        results = run_stages(config, tools, call_as_task)
    summary = load_summary(results)
    publish_artifacts(Path(results), summary)
    return summary


_terminal: Progress = no_progress


def terminal() -> Progress:
    """How the flow shows progress beside the UI."""
    return _terminal


def show_progress_on(progress: Progress) -> None:
    """Show progress on a terminal too: for a command that runs the flow in its own process."""
    global _terminal
    _terminal = progress
