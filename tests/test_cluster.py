"""Clusters: each kind opens or says why not; pieces run on a scheduler that is already there."""

from __future__ import annotations

import logging
import os
import signal
import time

import pytest
from distributed import LocalCluster

from dataprops.errors import DatapropsError
from dataprops.store.folder import open_store
from dataprops.util.tools import no_progress
from tasks.cluster import STARTS, connect, device_of
from tasks.parallel import dask_tools


def double(value: int) -> int:
    return 2 * value


def slow_pid(value: int) -> tuple[int, int]:
    time.sleep(0.2)
    return value, os.getpid()


def test_local_threads_run_pieces(tmp_path):
    with connect("local", open_store(tmp_path / "store"), workers=2) as client:
        tools = dask_tools(client, no_progress, "cpu")
        assert (tools.workers, tools.threads) == (1, 2)
        assert sorted(tools.map(double, ((i,) for i in range(20)))) == [2 * i for i in range(20)]


def test_a_running_scheduler_is_used_and_its_workers_must_see_the_store(tmp_path):
    store = open_store(tmp_path / "store")
    with LocalCluster(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster:
        address = cluster.scheduler_address
        with connect(address, store) as client:
            assert list(dask_tools(client, no_progress, "cpu").map(double, [(3,)])) == [6]
        with pytest.raises(DatapropsError, match="do not see the store"), connect(address, tmp_path / "elsewhere"):
            pass


@pytest.mark.parametrize(
    ("cluster", "message"),
    [("sun-grid", "unknown cluster 'sun-grid': use local"), ("tcp://127.0.0.1:9", "no Dask scheduler answers")],
)
def test_a_cluster_that_cannot_be_had_says_the_way_out(cluster, message, tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.cluster.PATIENCE", "1s")
    with pytest.raises(DatapropsError, match=message), connect(cluster, open_store(tmp_path / "store")):
        pass


def test_cuda_without_a_device_says_that_cpu_workers_are_used(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with caplog.at_level(logging.WARNING), connect("cuda", open_store(tmp_path / "store")) as client:
        assert sum(client.nthreads().values()) >= 1
    assert "CPU workers are used" in caplog.text
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
    assert len(starts) == 3 and caplog.text.count("all are started again") == 2
    monkeypatch.setattr("tasks.cluster.LocalCluster", dies(9))
    with (
        pytest.raises(DatapropsError, match=rf"did not start .* {STARTS} times"),
        connect("processes", open_store(tmp_path / "store")),
    ):
        pass
