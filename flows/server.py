"""The Prefect server of a command: the user's, or a temporary one that starts while images are decoded.

A temporary server keeps its database under the store and listens on localhost only. It has no UI: for that, run
``prefect server start`` and set PREFECT_API_URL; runs then appear there.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import sqlite3
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from importlib.util import find_spec
from pathlib import Path

from dataprops.util.garbage import THRESHOLDS

log = logging.getLogger(__name__)

DATABASE_REVISION = "a3b9c7d2e5f1"  # Prefect 3.8.8; the schema in `prefect_database.sql`
LOOPBACK = ("127.0.0.1", "localhost", "::1")
PATIENCE = 300.0  # seconds; on a machine with ten times more to do than cores a start took more than 90
FULL = (b"disk is full", b"No space left on device")  # messages of SQLite and the operating system
QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # a failing run raises here and the command reports it: Prefect would log it three more times
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "dataprops,tasks",
    "DASK_LOGGING__DISTRIBUTED": "error",
}
# A temporary server serves one run: no schedules, triggers, late runs or UI logs
TEMPORARY = {
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
}


# Runs a module in a process that exits when its parent does, even by SIGKILL: its standard input then closes
ENDS_WITH_PARENT = f"""
import gc, os, runpy, signal, sys, threading

gc.set_threshold(*{THRESHOLDS})

def watch():
    while os.read(0, 4096):
        pass
    threading.Timer(5.0, os._exit, (1,)).start()
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=watch, daemon=True).start()
del sys.argv[0]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def prefect_home() -> Path:
    """Prefect's home directory; it may not exist."""
    return Path(os.environ.get("PREFECT_HOME") or os.path.join(os.path.expanduser("~"), ".prefect"))  # noqa: PTH111, PTH118


def bypass_proxies() -> None:
    """Exclude localhost from proxies named in the environment, which cannot reach it."""
    for name in ("NO_PROXY", "no_proxy"):
        known = [host for host in os.environ.get(name, "").split(",") if host.strip()]
        if "*" not in known:
            os.environ[name] = ",".join(dict.fromkeys([*known, *LOOPBACK]))


def configured_url(home: Path) -> str | None:
    """The API URL from the environment or the active Prefect profile, or None."""
    if url := os.environ.get("PREFECT_API_URL"):
        return url
    profiles = home / "profiles.toml"
    if not profiles.is_file():
        return None
    try:
        table = tomllib.loads(profiles.read_text(encoding="utf-8"))
        name = os.environ.get("PREFECT_PROFILE") or table.get("active", "ephemeral")
        return table.get("profiles", {}).get(name, {}).get("PREFECT_API_URL")
    except (OSError, tomllib.TOMLDecodeError) as error:
        log.warning("the Prefect profiles in %s cannot be read: %s", profiles, error)
        return None


@contextmanager
def server_for(store: Path) -> Iterator[Callable[[], None]]:
    """Provide a server while the context lasts; call the yielded function to wait until it answers, before running a flow.

    Sets environment variables that Prefect reads at import, so Prefect must not be imported yet.
    """
    home = prefect_home()
    bypass_proxies()
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if configured_url(home):
        yield lambda: None
        return
    if "PREFECT_HOME" not in os.environ and not os.access(home, os.W_OK):  # missing, or another user's
        os.environ["PREFECT_HOME"] = str(store / "prefect")  # write nothing to the home directory
    for name, value in TEMPORARY.items():
        os.environ.setdefault(name, value)
    with _temporary_server(store) as ready:
        yield ready


def prepare_database(home: Path) -> bool:
    """Create the database of a new Prefect home from a SQL script, which saves running a hundred migrations (ten seconds).

    The script is the schema of the oldest supported Prefect; newer versions migrate from its revision. Does nothing if the
    installed Prefect does not know that revision, the database exists, or another database is configured.

    Returns
    -------
    bool
        Whether the database was created.
    """
    database = home / "prefect.db"
    elsewhere = any(name.endswith("_DATABASE_CONNECTION_URL") for name in os.environ if name.startswith("PREFECT_"))
    if elsewhere or database.exists() or not _has_migration(DATABASE_REVISION):
        return False
    script = (Path(__file__).parent / "prefect_database.sql").read_text(encoding="utf-8")
    home.mkdir(parents=True, exist_ok=True)
    unfinished = home / f"prefect.db.{os.getpid()}"
    with closing(sqlite3.connect(unfinished)) as made:
        made.executescript(script)
    try:
        os.link(unfinished, database)  # unlike a rename, does not replace one that another command just created
    except OSError as error:
        log.info("Prefect will create its database itself: %s", error)
        return False
    finally:
        unfinished.unlink()
    return True


def _has_migration(revision: str) -> bool:
    """Whether the installed Prefect knows a database revision; does not import it."""
    package = find_spec("prefect")
    if package is None or not package.submodule_search_locations:
        return False
    migrations = (
        Path(package.submodule_search_locations[0]) / "server" / "database" / "_migrations" / "versions" / "sqlite"
    )
    return any(migrations.glob(f"*_{revision}_*.py"))


@contextmanager
def _temporary_server(store: Path) -> Iterator[Callable[[], None]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}/api"
    logs = store / "prefect" / "server.log"
    logs.parent.mkdir(parents=True, exist_ok=True)
    prepare_database(prefect_home())
    with logs.open("wb") as out:
        process = subprocess.Popen(
            [
                *(
                    sys.executable,
                    "-c",
                    ENDS_WITH_PARENT,
                    "uvicorn",
                    "--factory",
                    "prefect.server.api.server:create_app",
                ),
                *("--host", "127.0.0.1", "--port", str(port), "--log-level", "error", "--lifespan", "on"),
            ],
            # as Prefect starts its own temporary server
            env={
                **os.environ,
                "PREFECT_UI_ENABLED": "0",
                "PREFECT__SERVER_EPHEMERAL": "1",
                "PREFECT__SERVER_FINAL": "1",
                "PY_KEY_VALUE_DISABLE_BEARTYPE": "true",  # saves 0.1 s of argument checks
            },
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.PIPE,  # closed when this process ends, however it ends
        )
    set_here, waiting = ExitStack(), ThreadPoolExecutor(1, "server")
    answers = waiting.submit(_wait, process, address, logs)
    waiting.shutdown(wait=False)

    def ready() -> None:
        answers.result()
        set_here.enter_context(_without_heartbeats())

    try:
        os.environ["PREFECT_API_URL"] = address  # read when Prefect is imported, possibly before the server answers
        with set_here:
            yield ready
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
        if process.stdin is not None:
            process.stdin.close()
        os.environ.pop("PREFECT_API_URL", None)


@contextmanager
def _without_heartbeats() -> Iterator[None]:
    """Disable the heartbeat thread, which delays the end of each flow by up to a second; no environment variable can."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


LOOPBACK_DOWN = (
    "nothing reaches 127.0.0.1, where the temporary Prefect server listens: bring the loopback up (ip link set lo up), or use"
    " --inline, which needs no server"
)


def _wait(process: subprocess.Popen, address: str, logs: Path) -> None:
    from dataprops.errors import MachineError

    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            # this request builds the server's route table, so that the client's first does not have to
            with urllib.request.urlopen(f"{address}/admin/version", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError) as error:
            if getattr(getattr(error, "reason", error), "errno", None) == errno.ENETUNREACH:
                process.kill()
                raise MachineError(LOOPBACK_DOWN) from None
            time.sleep(0.1)
    from dataprops.util.files import is_full

    process.kill()  # releases its disk space
    if is_full(logs.parent) or any(told in logs.read_bytes() for told in FULL):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(logs.parent))
    raise MachineError(
        f"the temporary Prefect server did not start: see {logs}, or use --inline, which needs no server"
    )
