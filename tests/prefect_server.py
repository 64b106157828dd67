"""A real Prefect server, a real place that takes messages, and the command line, for tests of operation."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.server import prepare_database

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

ROOT = Path(__file__).parents[1]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def until(condition: Callable[[], Any], what: str, seconds: float = 900) -> Any:
    """Wait for a condition; its value. Long enough for a busy machine, and no test judges how long it took."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


def console_environment(folder: Path) -> dict[str, str]:
    """An environment whose PATH has the console scripts of installed packages, run by the Python that runs the tests."""
    folder.mkdir()
    for name, module in (("dataprops", "flows.cli"), ("prefect", "prefect"), ("dask", "dask")):
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m {module} "$@"\n')
        (folder / name).chmod(0o755)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    return clean | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


class PrefectServer:
    """`prefect server start` with its own home, database and port."""

    def __init__(self, home: Path):
        self.home, self.port = home, free_port()
        self.url = f"http://127.0.0.1:{self.port}/api"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
        tools = str(Path(sys.executable).parent)
        self.environment = clean | {
            "PREFECT_HOME": str(home),
            "PREFECT_API_URL": self.url,
            "PREFECT_SERVER_API_PORT": str(self.port),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
            "PREFECT_API_REQUEST_TIMEOUT": "300",  # of a busy machine
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_RUNNER_POLL_FREQUENCY": "1",
            "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "3",
            "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
            "PREFECT_SERVER_SERVICES_TRIGGERS_PROACTIVE_GRANULARITY": "1",
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
            "PYTHONPATH": str(ROOT),
            "PATH": tools + os.pathsep + os.environ["PATH"],
            "OMP_NUM_THREADS": "1",
        }
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start, and wait until it answers."""
        self.home.mkdir(parents=True, exist_ok=True)
        if not any(name.endswith("_DATABASE_CONNECTION_URL") for name in self.environment):
            prepare_database(self.home)
        command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(self.port)]
        with (self.home / "server.log").open("ab") as out:
            self.process = subprocess.Popen(
                command, env=self.environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True
            )
        until(self._answers, f"the Prefect server (see {self.home / 'server.log'})")

    def stop(self) -> None:
        """End it and what it started."""
        if self.process is not None:
            end(self.process)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=60) as answer:
                return answer.status == 200
        except OSError:
            return False

    def ask(self, path: str, query: dict | list) -> Any:
        """POST to the server's API."""
        body = json.dumps(query).encode()
        request = urllib.request.Request(f"{self.url}{path}", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=300) as answer:
            text = answer.read()
            return json.loads(text) if text else None

    def runs(self, flow: str, dataset: str = "") -> list[dict]:
        """Runs of a flow whose name begins with the dataset's, in the order of their creation."""
        query: dict[str, Any] = {"flows": {"name": {"any_": [flow]}}, "limit": 200, "sort": "ID_DESC"}
        if dataset:
            query["deployments"] = {"name": {"any_": [dataset]}}
        found: dict[str, dict] = {}
        offset = 0
        while page := self.ask("/flow_runs/filter", {**query, "offset": offset}):
            found |= {run["id"]: run for run in page}
            offset += len(page)
        return sorted(found.values(), key=lambda run: run["created"])

    @contextmanager
    def client(self) -> Iterator[SyncPrefectClient]:
        """Prefect's own client; and meanwhile all of Prefect in this process means this server."""
        from prefect.client.orchestration import get_client
        from prefect.settings import PREFECT_API_URL, temporary_settings

        with temporary_settings({PREFECT_API_URL: self.url}), get_client(sync_client=True) as client:
            yield client

    def command(self, *arguments: str, cwd: Path, check: bool = True) -> subprocess.CompletedProcess:
        """Run `dataprops ARGUMENTS` to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "flows.cli", *arguments],
            env=self.environment,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    @contextmanager
    def running(
        self, *arguments: str, cwd: Path, log: Path, environment: Mapping[str, str] | None = None
    ) -> Iterator[subprocess.Popen]:
        """`dataprops ARGUMENTS` as a process that stays, while the context lasts; with more in its environment."""
        with log.open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "flows.cli", *arguments],
                env=self.environment | dict(environment or {}),
                cwd=cwd,
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            end(process)


def end(process: subprocess.Popen, number: int = signal.SIGTERM) -> None:
    """End a process, and then whatever of its session is left."""
    with suppress(ProcessLookupError):
        process.send_signal(number)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


class Inbox:
    """A web server that takes messages; it refuses the first try of each message to a path that begins with /flaky."""

    def __init__(self) -> None:
        self.messages: list[dict] = []
        self.refused: list[str] = []
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                if self.path.startswith("/flaky") and body not in inbox.refused:
                    inbox.refused.append(body)
                    self.send_response(503)
                else:
                    inbox.messages.append({"path": self.path, **json.loads(body)})
                    self.send_response(200)
                self.end_headers()

            def log_message(self, *words: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def subjects(self, path: str) -> list[str]:
        """Subjects of the messages to a path, in the order in which they came."""
        return [message["subject"] for message in self.messages if message["path"] == path]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
