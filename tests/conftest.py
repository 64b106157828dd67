"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.prefect_server import Inbox, PrefectServer

# Real third-party images are test material that never enters the repository: a folder with an `unpack` script, beside the checkout.
DATA = Path(os.environ.get("DATAPROPS_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def real_data(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function: name of a real dataset -> folder with its images, or skip with the reason."""
    folder = tmp_path_factory.mktemp("real")

    def unpack(name: str) -> Path:
        script = DATA / "unpack"
        if not script.is_file() or not (DATA / f"{name}.tar.xz").is_file():
            pytest.skip(f"real dataset {name!r} is not at hand ({DATA}; set DATAPROPS_TEST_DATA)")
        subprocess.run([str(script), str(folder), name], check=True)
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
