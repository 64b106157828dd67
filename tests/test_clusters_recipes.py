"""The recipes of deployments/clusters.md: a scheduler and workers as processes of their own; files under their readers."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from distributed import Client

from dataprops.store.folder import open_store
from dataprops.util.tools import no_progress
from tasks.cluster import connect
from tasks.parallel import dask_tools
from tests.prefect_server import end

RECIPES = Path(__file__).parents[1] / "deployments" / "clusters"


def where(number: int) -> str:
    """The folder of the worker that ran a piece."""
    import time

    from distributed import get_worker

    time.sleep(0.05)  # long enough that one worker cannot take all
    return get_worker().local_directory


def test_a_scheduler_and_workers_that_share_nothing_but_the_store(tmp_path):
    """Each worker is a process with a scratch folder of its own; all work on pieces of one audit's tools."""
    store = open_store(tmp_path / "store")
    found = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard"]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(found), "--nthreads", "1"]
    started = []
    try:
        with (tmp_path / "log").open("wb") as log:
            how = {
                "stdout": log,
                "stderr": subprocess.STDOUT,
                "cwd": Path(__file__).parents[1],
                "start_new_session": True,
            }
            started.append(subprocess.Popen([*dask, "--scheduler-file", str(found)], **how))
            for number in (1, 2):
                own = ["--no-dashboard", "--no-nanny", "--local-directory", str(tmp_path / f"host{number}")]
                started.append(subprocess.Popen([*worker, *own], **how))
            with Client(scheduler_file=str(found), timeout="600s") as client:
                client.wait_for_workers(2, timeout=900)
                address = client.scheduler.address
            with connect(address, store) as client:
                tools = dask_tools(client, no_progress, "cpu")
                folders = set(tools.map(where, ((i,) for i in range(40))))
    finally:
        # workers before their scheduler: one that loses it while it closes may wait for it for ever
        for process in reversed(started):
            end(process)
    assert {Path(folder).relative_to(tmp_path).parts[0] for folder in folders} == {"host1", "host2"}


def test_the_slurm_configuration_makes_a_job_script(monkeypatch):
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    import dask
    from dask_jobqueue.slurm import SLURMJob

    settings = yaml.safe_load((RECIPES / "jobqueue.yaml").read_text())
    known = dask.config.get("jobqueue.slurm")
    assert set(settings["jobqueue"]["slurm"]) <= set(known)  # no option that dask-jobqueue does not have
    with dask.config.set({"jobqueue.slurm": {**known, **settings["jobqueue"]["slurm"]}}):
        script = SLURMJob("tcp://scheduler:8786", name="w").job_script()
    for line in ("#SBATCH --cpus-per-task=8", "#SBATCH -t 04:00:00", "export OMP_NUM_THREADS=1", "--nthreads 8"):
        assert line in script


def test_the_kubernetes_cluster_is_valid_under_the_operators_schema():
    jsonschema = pytest.importorskip("jsonschema")
    spec = importlib.util.find_spec("dask_kubernetes")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("dask-kubernetes is not installed")
    charts = Path(spec.submodule_search_locations[0], "operator/deployment/helm/dask-kubernetes-operator/crds")
    (version,) = yaml.safe_load((charts / "daskcluster.yaml").read_text())["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    resource = yaml.safe_load((RECIPES / "kubernetes.yaml").read_text())
    assert resource["apiVersion"] == f"kubernetes.dask.org/{version['name']}"
    validator = jsonschema.Draft7Validator(schema)
    assert validator.is_valid(resource)
    del resource["spec"]["worker"]["spec"]["containers"][0]["name"]
    assert not validator.is_valid(resource)  # the schema does look
