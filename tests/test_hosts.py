"""The recipe for several hosts of deployments/clusters.md, on hosts that have networks of their own and share a folder.

Scheduler, two workers and the command line are each on another host; the results are those of one machine, bit for bit, also when
one of the workers is killed in the middle.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from dataprops.audit import audit
from dataprops.store.folder import finished_runs
from tests.hosts import Host, hosts, why_not
from tests.prefect_server import ROOT, console_environment, end, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.root,
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.timeout(3600),
]
TABLES = ("images", "properties", "neighbours", "pairs", "findings", "shortcuts")
OPTIONS = {"size": 8, "k": 5, "draws": 3, "sample": 100}


def recipe() -> tuple[str, str, str]:
    """The three commands of the guide: scheduler, worker, audit."""
    text = (ROOT / "deployments/clusters.md").read_text(encoding="utf-8")
    lines = re.findall(r"^    (.+?)(?:  +#.*)?$", text.split("## Several hosts")[1].split("\n## ")[0], re.MULTILINE)
    scheduler, worker, command = lines
    return scheduler, worker, command


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Path:
    """A folder that all hosts see, with real images: some of scikit-learn's handwritten digits."""
    from sklearn.datasets import load_digits

    root = tmp_path_factory.mktemp("shared")
    images, classes = load_digits(return_X_y=True)
    for number, (pixels, label) in enumerate(zip(images[:200], classes[:200], strict=True)):
        path = root / "scans" / str(label) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels.reshape(8, 8) * 15).astype("uint8")).save(path)
    return root


@pytest.fixture(scope="module")
def alone(shared) -> Path:
    """The results of one process of one machine."""
    audit(shared / "scans", store=str(shared / "alone"), **OPTIONS)
    (run,) = finished_runs(shared / "alone", "scans")
    return run


class Cluster:
    """Scheduler and workers by the guide's commands, each on a host of its own, and one host more to work from."""

    def __init__(self, shared: Path, folder: Path, opened: ExitStack):
        self.scheduler, self.one, self.two, self.desk = opened.enter_context(hosts("sched", "one", "two", "desk"))
        self.shared, self.folder, self.opened = shared, folder, opened
        self.environment = console_environment(folder / "bin") | {"HOME": str(folder), "OMP_NUM_THREADS": "1"}
        self.address = f"tcp://{self.scheduler.address}:8786"
        scheduler, worker, self.command = recipe()
        self.start(self.scheduler, scheduler)
        self.workers = [self.start(host, worker) for host in (self.one, self.two)]
        until(
            lambda: all("Registered to" in self.log(host).read_text() for host in (self.one, self.two)), "both workers"
        )

    def log(self, host: Host) -> Path:
        """What the commands on a host say."""
        return self.folder / f"{host.namespace}.log"

    def start(self, host: Host, command: str) -> subprocess.Popen:
        """Start a command of the guide on a host, with the paths and the address of this network in place of the guide's."""
        here = {
            "tcp://scheduler:8786": self.address,
            "/scratch": str(self.folder / f"scratch-{host.namespace}"),
            "/shared": str(self.shared),
            "--nthreads 8": "--nthreads 1",
        }
        for theirs, ours in here.items():
            command = command.replace(theirs, ours)
        with self.log(host).open("ab") as log:
            how = {"stderr": log, "stdout": log, "env": self.environment, "cwd": self.folder}
            process = host.start(["bash", "-c", f"exec {command}"], start_new_session=True, **how)
        self.opened.callback(end, process)
        return process


@pytest.fixture(scope="module")
def cluster(shared, tmp_path_factory):
    with ExitStack() as opened:
        yield Cluster(shared, tmp_path_factory.mktemp("cluster"), opened)


def same(run: Path, other: Path) -> None:
    """Every table of the two runs is equal, bit for bit; scores of classifiers among the findings to five digits."""
    for table in TABLES:
        one, two = (pd.read_parquet(folder / f"{table}.parquet") for folder in (run, other))
        # such scores are sums in float32, whose order depends on the number of threads
        pd.testing.assert_frame_equal(one, two, check_exact=table != "findings")


def test_the_commands_of_the_guide_on_four_hosts_give_the_results_of_one_machine(cluster, shared, alone):
    options = " ".join(f"--{name} {value}" for name, value in OPTIONS.items())
    process = cluster.start(cluster.desk, f"{cluster.command} {options} --fail-on never")
    assert process.wait(1800) == 0, cluster.log(cluster.desk).read_text()
    (run,) = finished_runs(shared / "audits", "scans")
    same(run, alone)


AUDIT = """
import json
import sys
from contextlib import contextmanager
from pathlib import Path

from dataprops.audit import composition
from dataprops.audit.config import AuditConfig
from dataprops.audit.stages import distances
from dataprops.distances.plan import Plan
from dataprops.store.folder import open_store
from tasks.cluster import connect
from tasks.parallel import dask_tools

address, source, store, options = *sys.argv[1:4], json.loads(sys.argv[4])
distances.plan_pass = lambda *args, **how: Plan(32, 64, 0)  # many jobs


@contextmanager
def progress(what, total, unit):
    done, told = 0, False

    def advance(count):
        nonlocal done, told
        done += count
        if what == "comparing pairs" and not told and done > total / 3:
            told = True
            print("in the middle", flush=True)
            sys.stdin.readline()

    yield advance


with connect(address, open_store(store)) as client:
    client.wait_for_workers(2, timeout=900)
    composition.run_stages(AuditConfig(source, store, **options), dask_tools(client, progress, "cpu"))
    print(len(client.scheduler_info()["workers"]), "left", flush=True)
"""


def test_a_worker_killed_in_the_middle_of_the_pass_changes_nothing(cluster, shared, alone):
    """The last test of this cluster, which has one worker after it."""
    store = str(shared / "killed")
    command = cluster.desk.inside(
        [sys.executable, "-c", AUDIT, cluster.address, str(shared / "scans"), store, json.dumps(OPTIONS)]
    )
    with (cluster.folder / "audit.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=cluster.environment
        )
    cluster.opened.callback(end, process)
    assert process.stdout is not None
    assert process.stdin is not None
    said = process.stdout.readline()
    assert said == "in the middle\n", (cluster.folder / "audit.log").read_text()
    victim = cluster.workers[0]
    end(victim, signal.SIGKILL)
    until(lambda: victim.poll() is not None, "the end of the worker")
    out, _ = process.communicate("go on\n", timeout=1800)
    assert process.returncode == 0, (cluster.folder / "audit.log").read_text()
    assert out == "1 left\n"
    (run,) = finished_runs(Path(store), "scans")
    same(run, alone)
