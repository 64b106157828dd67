"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

from tests.prefect_server import Inbox, PrefectServer

# A busy machine is no fault of a strategy
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

# Real third-party images are test material that never enters the repository: a folder with an `unpack` script, beside the checkout.
DATA = Path(os.environ.get("DATAPROPS_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


# Files that take longest, the longest first, so that no process of several is left alone with one of them at the end
LONGEST = (
    *("test_operation", "test_hosts", "test_guide", "test_grid_deployments", "test_kills", "test_experiment"),
    *("test_flow", "test_recovery", "test_deployments", "test_postgres", "test_tutorials", "test_audit", "test_prune"),
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, and mark what takes a Prefect server."""

    def rank(item: pytest.Item) -> int:
        if "prefect_server" in getattr(item, "fixturenames", ()):
            item.add_marker("server")
        file = item.path.stem
        return LONGEST.index(file) if file in LONGEST else len(LONGEST)

    items.sort(key=rank)


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
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A real Prefect server, one for all tests of operation."""
    server = PrefectServer(tmp_path_factory.mktemp("prefect"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def inbox() -> Iterator[Inbox]:
    """A real place that takes messages."""
    box = Inbox()
    yield box
    box.close()
