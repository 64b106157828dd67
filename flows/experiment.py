"""The Prefect flow `experiment`: the stages of a grid as tasks, its cells on a Dask cluster."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from prefect import flow

from dataprops.experiment import check, run_experiment
from dataprops.grid import Experiment
from dataprops.store import open_store
from flows.audit import terminal
from tasks.cluster import connect
from tasks.experiment import publish_cells
from tasks.parallel import dask_tools
from tasks.progress import prefect_progress
from tasks.stages import call_as_task


@flow(name="experiment", flow_run_name="{experiment.name}", validate_parameters=False)
def experiment_flow(experiment: Experiment, cluster: str = "processes", workers: int | None = None) -> Path:
    """Compute a grid of trainings, or what is missing of it; returns its folder.

    Parameters
    ----------
    experiment : Experiment
    cluster : str
        See `tasks.cluster.connect`. A process trains one network at a time, so threads ("local") wait for each other.
    workers : int, optional
        Processes of a local cluster.
    """
    check(experiment)
    store = open_store(experiment.store)
    with connect(cluster, store, workers) as client:
        # a cell decides for itself where it computes: its workers may see other devices than this process
        folder = run_experiment(experiment, dask_tools(client, prefect_progress(terminal()), "cpu"), call_as_task)
    publish_cells(pd.read_parquet(folder / "cells.parquet"), experiment.name)
    return folder
