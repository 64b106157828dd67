"""The Prefect flow `experiment`: each stage of a grid is a task, its cells run on a Dask cluster."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from prefect import flow, runtime

from dataprops.experiment import check, run_experiment
from dataprops.experiment.grid_options import experiment_from
from dataprops.store.folder import open_store
from flows.audit import LOCK_PATIENCE, terminal
from tasks.cluster import connect
from tasks.experiment import publish_cells
from tasks.parallel import dask_tools
from tasks.progress import prefect_progress
from tasks.stages import call_as_task


def _run_name() -> str:
    return experiment_from(runtime.flow_run.parameters["options"]).name


@flow(name="experiment", flow_run_name=_run_name, validate_parameters=False)
def experiment(options: dict[str, Any], cluster: str = "processes", workers: int | None = None) -> Path:
    """Compute the missing cells of a training grid; returns the experiment's folder.

    Parameters
    ----------
    options : dict
        Options of `dataprops experiment` by name, see `experiment.grid_options.OPTIONS`; `sources` or `grid` is required.
    cluster : str
        See `tasks.cluster.connect`. A process trains one network at a time, so threads ("local") run one after another.
    workers : int, optional
        Processes of a local cluster.
    """
    asked = experiment_from(options)
    if runtime.deployment.id:  # unattended: wait for a running audit instead of failing
        asked = replace(asked, wait=LOCK_PATIENCE)
    check(asked)
    with connect(cluster, open_store(asked.store), workers) as client:
        # each cell chooses its own device: workers may have other devices than this process
        folder = run_experiment(asked, dask_tools(client, prefect_progress(terminal()), "cpu"), call_as_task)
    publish_cells(pd.read_parquet(folder / "cells.parquet"), asked.name)
    return folder
