"""Fixtures shared by all tests."""

from __future__ import annotations

import gc
import os
import subprocess
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

from tests.prefect_server import Inbox, PrefectServer

# A busy machine is no fault of a strategy
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

# Libraries leave millions of objects that never go: looking through them for cycles again and again is a tenth of the suite
gc.set_threshold(20_000, 20, 20)

# Real third-party images are test material that never enters the repository: a folder with an `unpack` script, beside the checkout.
DATA = Path(os.environ.get("DATAPROPS_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


# One process has these files, and so one server, which ends with the last of them
ON_THE_SERVER = ("test_operation", "test_guide", "test_experiment_flow")

SERVERS: pytest.StashKey[list[PrefectServer]] = pytest.StashKey()

# Files that take longest, the longest first, so that no process of several is left alone with one of them at the end
LONGEST = (
    *ON_THE_SERVER,
    *("test_audit", "test_experiment", "test_flow", "test_probe", "test_kills", "test_layouts", "test_tutorials"),
    *("test_auditing", "test_findings", "test_distances", "test_checks", "test_budget", "test_unchanged"),
    *("test_python_api", "test_remote", "test_server_database", "test_edge", "test_validator", "test_fitting"),
    *("test_clusters_recipes", "test_reproducible", "test_pooled", "test_predict", "test_browser", "test_containers"),
    *("test_dimension", "test_prune", "test_paper_sources", "test_device", "test_cluster", "test_anchors"),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The option `--cpu`."""
    parser.addoption(
        "--cpu", metavar="FILE", help="append the CPU seconds of each test, with processes that it waited for"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Write down what a test took, with its fixtures."""
    before = sum(os.times()[:4])
    result = yield
    if table := item.config.getoption("--cpu", None):
        with Path(table).open("a", encoding="utf-8") as file:
            file.write(f"{sum(os.times()[:4]) - before:.2f} {item.nodeid}\n")
    return result


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """By file, but for those that share a server."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "the server" if Path(file).stem in ON_THE_SERVER else file

    return Scheduling(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, and mark what takes a Prefect server."""

    def rank(item: pytest.Item) -> int:
        if "prefect_server" in getattr(item, "fixturenames", ()):
            item.add_marker("server")
        file = item.path.stem
        return LONGEST.index(file) if file in LONGEST else len(LONGEST)

    items.sort(key=rank)


def pytest_sessionfinish() -> None:
    """The helper of this process's audits ends by itself, not killed with it: what it ran counts for coverage."""
    from dataprops.util import helper

    helper.stop()


@pytest.fixture(scope="session")
def real_data(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function: name of a real dataset -> folder with its images, or skip with the reason."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "real"  # of all processes of this run
    folder.mkdir(exist_ok=True)

    def unpack(name: str) -> Path:
        script = DATA / "unpack"
        if not script.is_file() or not (DATA / f"{name}.tar.xz").is_file():
            pytest.skip(f"real dataset {name!r} is not at hand ({DATA}; set DATAPROPS_TEST_DATA)")
        with FileLock(folder / f"{name}.lock"):
            if not (folder / f"{name}.done").exists():
                subprocess.run([str(script), str(folder), name], check=True)
                (folder / f"{name}.done").touch()
        return folder / name

    return unpack


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[PrefectServer]:
    """A real Prefect server, one for all tests of operation."""
    server = PrefectServer(tmp_path_factory.mktemp("prefect"))
    server.start()
    pytestconfig.stash[SERVERS] = [server]
    yield server
    server.stop()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """End the server when no later test asks for it: it works all the time."""
    servers = item.config.stash.get(SERVERS, [])
    if servers and item.path.stem in ON_THE_SERVER and (nextitem is None or nextitem.path.stem not in ON_THE_SERVER):
        servers.pop().stop()


@pytest.fixture(scope="session")
def inbox() -> Iterator[Inbox]:
    """A real place that takes messages."""
    box = Inbox()
    yield box
    box.close()
