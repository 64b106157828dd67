"""A Prefect server on a real PostgreSQL: deployed, told of new data, audited; the database holds it."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.make_images import random_folder
from tests.prefect_server import PrefectServer, free_port, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
USER = "nobody"  # PostgreSQL refuses to run as root
FILE = """
store = "store"
pool = "ward"
base_url = "http://127.0.0.1:{port}"
[datasets.chest]
source = "chest"
size = 12
k = 5
estimators = ["mle"]
draws = 2
probe = false
schedule = "0 3 * * *"
"""


def programs() -> Path | None:
    """Where PostgreSQL's programs lie: on the path, or where Debian puts them, the newest."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), default=None)


@contextmanager
def database() -> Iterator[str]:
    """A cluster of its own in a temporary folder, on a free port, while the context lasts; the value is its address."""
    found, port = programs(), free_port()
    assert found is not None
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other users
        who = {}
        if os.geteuid() == 0:
            who = {"user": USER, "group": "nogroup", "extra_groups": ()}
            shutil.chown(folder, USER, "nogroup")
        yield from started(
            found, Path(folder), port, {"cwd": folder, "check": True, "text": True, "timeout": 600, **who}
        )


def started(found: Path, folder: Path, port: int, how: dict) -> Iterator[str]:
    """Make the cluster, start it, and end it."""
    quiet = {**how, "capture_output": True}
    data = folder / "data"
    subprocess.run([found / "initdb", "-D", data, "-U", "prefect", "-A", "trust", "-E", "UTF8", "--no-sync"], **quiet)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    control = [found / "pg_ctl", "-D", data, "-w", "-t", "300"]
    # its output goes to a file: a pipe would stay open as long as the server
    subprocess.run([*control, "-l", folder / "log", "-o", options, "start"], **how)
    try:
        yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], **quiet)


@pytest.mark.skipif(programs() is None, reason="no PostgreSQL here (apt-get install postgresql)")
def test_an_audit_on_a_server_with_postgresql(tmp_path):
    random_folder(tmp_path / "chest", {"a": 30, "b": 30})
    (tmp_path / "datasets.toml").write_text(FILE.format(port=free_port()))
    with database() as address:
        server = PrefectServer(tmp_path / "prefect")
        server.environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = address
        server.start()
        try:
            with server.running("serve", "datasets.toml", cwd=tmp_path, log=tmp_path / "serve.log"):
                until(lambda: "results    http" in (tmp_path / "serve.log").read_text(), "the deployment")
                server.command("notify", "chest", "--reason", "export", cwd=tmp_path)
                until(lambda: completed(server), "the audit")
                until(lambda: scheduled(server), "the runs of the schedule")
        finally:
            server.stop()
        assert not list((tmp_path / "prefect").glob("*.db"))  # nothing went to SQLite
        count = "select count(*) from flow_run where state_type = 'COMPLETED' and name = 'chest (export)'"
        assert asyncio.run(asked(address.replace("+asyncpg", ""), count)) == 1
    assert len(list((tmp_path / "store/results/chest").glob("*/summary.json"))) == 1


async def asked(address: str, query: str) -> int:
    """The database's own answer."""
    import asyncpg

    connection = await asyncpg.connect(address)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def completed(server: PrefectServer) -> bool:
    """Whether the audit that was asked for is done."""
    return any(run["state_type"] == "COMPLETED" for run in server.runs("audit", "chest"))


def scheduled(server: PrefectServer) -> bool:
    """Whether the schedule made runs."""
    return any("auto-scheduled" in run["tags"] for run in server.runs("audit", "chest"))
