"""Clusters: each kind opens or says why not; pieces run on a scheduler that is already there."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster, Security, get_worker

from dataprops.distances import allpairs
from dataprops.distances.allpairs import Runner, all_pairs, array_rows, compute_job
from dataprops.distances.plan import Plan
from dataprops.distances.state import PassSpec
from dataprops.errors import DatapropsError
from dataprops.store.folder import open_store
from dataprops.store.rows import RowPlaces, save_rows
from dataprops.util.tools import no_progress
from dataprops.util.version import package_version
from tasks import parallel
from tasks.cluster import STARTS, connect, device_of
from tasks.parallel import ANY_DEVICE, dask_tools
from tests.pieces import double, slow_pid
from tests.test_sketch import structured


def test_local_threads_run_pieces(tmp_path):
    with connect("local", open_store(tmp_path / "store"), workers=2) as client:
        tools = dask_tools(client, no_progress, "cpu")
        assert (tools.workers, tools.threads) == (1, 2)
        assert sorted(tools.map(double, ((i,) for i in range(20)))) == [2 * i for i in range(20)]


def test_a_running_scheduler_is_used_and_its_workers_must_see_the_store_and_be_of_this_version(tmp_path, monkeypatch):
    store = open_store(tmp_path / "store")
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster:
        address = cluster.scheduler_address
        with connect(address, store) as client:
            assert list(dask_tools(client, no_progress, "cpu").map(double, [(3,)])) == [6]
        monkeypatch.setattr("tasks.cluster.package_version", lambda: "99.1")  # here, not at the worker
        told = r"1 workers of .* run another version of dataprops \(.* at tcp.*, here 99\.1\)"
        with pytest.raises(DatapropsError, match=told), connect(address, store):
            pass
        monkeypatch.undo()
        with pytest.raises(DatapropsError, match="do not see the store"), connect(address, tmp_path / "elsewhere"):
            pass


@contextmanager
def worker_of(version: str | None, address: str, folder: Path):
    """A worker that has this code under another version, or no such package."""
    folder.mkdir()
    if version is None:
        (folder / "sitecustomize.py").write_text("import sys\nsys.modules['dataprops'] = sys.modules['tasks'] = None\n")
    else:
        (folder / f"dataprops-{version}.dist-info").mkdir()
        (folder / f"dataprops-{version}.dist-info/METADATA").write_text(f"Name: dataprops\nVersion: {version}\n")
    path = os.pathsep.join([str(folder), str(Path(__file__).parents[1])])
    command = [sys.executable, "-m", "dask", "worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path}, cwd=folder, stderr=subprocess.DEVNULL) as it:
        try:
            yield it
        finally:
            it.kill()


@pytest.mark.parametrize("version", ["99.1", None])
def test_workers_of_another_version_are_refused_with_both_versions(version, tmp_path):
    store, here = open_store(tmp_path / "store"), re.escape(package_version())
    told = rf"1 workers of .* run another version of dataprops \({version or 'none'} at tcp.*, here {here}\)"
    with (
        LocalCluster(n_workers=0, processes=True, dashboard_address=":0") as cluster,
        worker_of(version, cluster.scheduler_address, tmp_path / "other"),
        pytest.raises(DatapropsError, match=told),
        connect(cluster.scheduler_address, store),
    ):
        pass


def test_a_worker_of_another_version_that_joins_later_computes_nothing(tmp_path):
    store, here = open_store(tmp_path / "store"), re.escape(package_version())
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster:
        address = cluster.scheduler_address
        with connect(address, store) as client, worker_of("99.1", address, tmp_path / "other"):
            first = list(client.scheduler_info()["workers"])
            client.wait_for_workers(2, timeout=120)
            tools = dask_tools(client, no_progress, "cpu")
            client.retire_workers(first)
            told = rf"a worker that joined .* another version of dataprops \(99\.1, here {here}\)"
            with pytest.raises(DatapropsError, match=told):
                list(tools.map(double, [(3,)]))


@pytest.mark.parametrize(
    ("cluster", "message"),
    [("sun-grid", "unknown cluster 'sun-grid': use local"), ("tcp://127.0.0.1:9", "no Dask scheduler answers")],
)
def test_a_cluster_that_cannot_be_had_says_the_way_out(cluster, message, tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.cluster.PATIENCE", "1s")
    with pytest.raises(DatapropsError, match=message), connect(cluster, open_store(tmp_path / "store")):
        pass


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here, which makes the certificate")
def test_a_scheduler_with_tls_takes_clients_with_its_certificate_and_no_others(tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.cluster.PATIENCE", "2s")
    # the commands of deployments/clusters.md: one self-made certificate, its own authority, for all of them
    key, cert = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=dask"]
    subprocess.run([*made, "-keyout", key, "-out", cert], check=True, capture_output=True)
    tls = "distributed.comm.tls"
    held = {
        f"{tls}.{role}.{part}": path
        for role in ("scheduler", "worker")
        for part, path in (("cert", cert), ("key", key))
    }
    client = {f"{tls}.client.cert": cert, f"{tls}.client.key": key, f"{tls}.ca-file": cert}
    store = open_store(tmp_path / "store")
    with dask.config.set({**held, **client, "distributed.comm.require-encryption": True}):
        cluster = LocalCluster(
            n_workers=1, processes=False, dashboard_address=":0", protocol="tls", security=Security()
        )
        with cluster:
            address = cluster.scheduler_address
            assert address.startswith("tls://")
            with connect(address, store) as found:
                assert list(dask_tools(found, no_progress, "cpu").map(double, [(3,)])) == [6]
            none = {**dict.fromkeys(client), "distributed.comm.require-encryption": False}
            with (
                dask.config.set(none),
                pytest.raises(DatapropsError, match=r"needs certificates: .*ca-file"),
                connect(address, store),
            ):
                pass
            with (
                dask.config.set(none),
                pytest.raises(DatapropsError, match="no Dask scheduler answers"),
                connect(address.replace("tls://", "tcp://"), store),
            ):
                pass


def test_cuda_without_a_device_says_that_cpu_workers_are_used(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with caplog.at_level(logging.WARNING), connect("cuda", open_store(tmp_path / "store")) as client:
        assert sum(client.nthreads().values()) >= 1
    assert "using CPU workers" in caplog.text
    assert device_of("cuda") == "cpu"


def test_a_worker_that_is_killed_is_replaced_and_its_pieces_are_computed(tmp_path):
    with connect("processes", open_store(tmp_path / "store"), workers=2) as client:
        victim, _ = sorted(client.run(os.getpid).values())
        found = []
        for value, pid in dask_tools(client, no_progress, "cpu").map(slow_pid, ((i,) for i in range(20))):
            if not found:
                os.kill(victim, signal.SIGKILL)
            found.append((value, pid))
        assert sorted(value for value, _ in found) == list(range(20))


def test_workers_that_die_while_they_start_are_started_again(tmp_path, monkeypatch, caplog):
    starts = []

    def dies(times):
        def make(**options):
            starts.append(options)
            if len(starts) <= times:
                raise RuntimeError("Nanny failed to start.")
            return LocalCluster(n_workers=1, processes=False, dashboard_address=":0")

        starts.clear()
        return make

    monkeypatch.setattr("tasks.cluster.LocalCluster", dies(2))
    with connect("processes", open_store(tmp_path / "store"), workers=1) as client:
        assert client.nthreads()
    assert len(starts) == 3 and caplog.text.count("restarting all") == 2
    monkeypatch.setattr("tasks.cluster.LocalCluster", dies(9))
    with (
        pytest.raises(DatapropsError, match=rf"failed to start {STARTS} times"),
        connect("processes", open_store(tmp_path / "store")),
    ):
        pass


def test_workers_of_a_running_scheduler_take_the_gpu_they_have_and_agree_with_those_that_have_none(tmp_path, caplog):
    """One worker of two "has a GPU": the route of devices, on the CPU, under the name cpu:0."""
    n, features = 600, 40
    pixels = structured(n, features, 6, 2.0, 0)
    y = np.arange(n) % 3.0
    spec = PassSpec(5, near2=4.0 * features)
    np.save(tmp_path / "one.npy", pixels)
    save_rows(
        tmp_path / "rows.npz",
        RowPlaces(tmp_path, ["one.npy"], np.zeros(n, int), np.arange(n)),
        features,
        y,
        np.ones(n, bool),
    )
    assert device_of("tcp://somewhere:8786") == ANY_DEVICE
    used = []

    def has() -> parallel.Equipment:
        try:
            gpu = get_worker().name == 0
        except ValueError:  # asked what it has, not for a job
            gpu = False
        return parallel.Equipment("cpu:0", "a GPU") if gpu else parallel.Equipment("cpu", "2 cores")

    def computed(job, threads, device):
        used.append(device)
        return compute_job(job, threads, device)

    with (
        pytest.MonkeyPatch.context() as patch,
        LocalCluster(n_workers=2, threads_per_worker=2, processes=False, dashboard_address=":0") as cluster,
        Client(cluster) as client,
        caplog.at_level(logging.INFO, "tasks.parallel"),
    ):
        patch.setattr(parallel, "equipment", has)
        patch.setattr(allpairs, "compute_job", computed)
        tools = dask_tools(client, no_progress, ANY_DEVICE)
        assert (tools.device, tools.pool_device) == ("cpu", "cpu")
        assert tools.job_pool is not None
        runner = Runner(pool=tools.job_pool(str(tmp_path / "rows.npz")))
        found = all_pairs(array_rows(pixels, y), spec, Plan(100, 256, 0), runner)
    assert set(used) == {"cpu", "cpu:0"}
    assert caplog.text.count(": 2 cores") == 2
    whole = all_pairs(array_rows(pixels, y), spec, Plan(n, 256, 0))
    for one, two in zip((*found.state, *found.near.arrays()), (*whole.state, *whole.near.arrays()), strict=True):
        assert np.array_equal(one, two)
