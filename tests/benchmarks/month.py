"""A month of many datasets on one real Prefect server: ``python -m tests.benchmarks.month --datasets 50``.

`dataprops serve` operates the datasets, each with a daily schedule and a channel. On each simulated day every dataset has an
audit: its results are linked from a real one, its run is made at the server with the states that a run passes through, and some
alerts open and close. `serve` itself tells them, by events, `deliver` runs and its looks. Printed after each day: memory and CPU
seconds of `serve` and of the server, the size of the database, what was told (each fifth day waits for all of it); at the end the
messages, each once, what is open, the runs by their states, what schedules planned.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
import urllib.error
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from dataprops.audit import audit
from dataprops.checks.open_alerts import load_state, settle
from tests.benchmarks.load import OPTIONS, linked
from tests.make_images import random_folder
from tests.prefect_server import Inbox, PrefectServer, end, free_port, until

HEAD = """
store = "store"
pool = "month"
base_url = "http://127.0.0.1:{port}"
[channels.hook]
kind = "webhook"
url = "{inbox}/month"
"""
DATASET = """
[datasets.{name}]
source = "scans"
schedule = "0 3 * * *"
size = 16
k = 5
estimators = ["mle"]
probe = false
tell = ["hook"]
"""
FLOWS: dict[str, str] = {}  # of deployments
BUSY: Counter[str] = Counter()  # answers of a server whose database was locked
FLOW_NAMES = ("audit", "deliver")
PASSED = ("PENDING", "RUNNING", "COMPLETED")  # states of a run


def finished(server: PrefectServer, deployment: str, name: str) -> None:
    """A run of a deployment that passed through its states; no worker sees it."""
    made = patiently(server, "/flow_runs/", {"flow_id": FLOWS[deployment], "deployment_id": deployment, "name": name})
    for state in PASSED:
        patiently(server, f"/flow_runs/{made['id']}/set_state", {"state": {"type": state}, "force": True})


def patiently(server: PrefectServer, path: str, query: dict[str, Any]) -> Any:
    """Ask as Prefect's own client does: again, while its database has no time."""
    for _ in range(60):
        try:
            return server.ask(path, query)
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise
            BUSY["answers"] += 1
            time.sleep(1)
    raise AssertionError("the server's database has no time")


def month(base: Path, datasets: int, days: int, share: float, seed: int = 0) -> dict[str, Any]:
    """What a month did.

    Raises
    ------
    AssertionError
        If news was told twice or not at all.
    """
    rng, store = random.Random(seed), base / "store"
    random_folder(base / "scans", {"cat": 30, "dog": 30})
    summary = audit(base / "scans", store=str(store), **OPTIONS)
    names = [f"set{number:02d}" for number in range(datasets)]
    inbox, server = Inbox(), PrefectServer(base / "prefect")
    lines = [HEAD.format(port=free_port(), inbox=inbox.url), *(DATASET.format(name=name) for name in names)]
    (base / "month.toml").write_text("".join(lines), encoding="utf-8")
    server.start()
    began = time.time()
    looked: list[dict[str, Any]] = []
    try:
        with server.running("serve", "month.toml", cwd=base, log=base / "serve.log") as serving:

            def deployed() -> dict[str, str]:
                rows = patiently(server, "/deployments/filter", {"limit": 200})
                FLOWS.update({row["id"]: row["flow_id"] for row in rows})
                found = {row["name"]: row["id"] for row in rows}
                return found if set(names) <= set(found) else {}

            places = until(deployed, "the deployments", 1800)
            kinds = [{"name": f"check{kind}", "severity": "warning", "sentence": "It is so."} for kind in range(4)]
            found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
            changed: Counter[str] = Counter()

            def told() -> bool:
                time.sleep(1)
                return not any(load_state(store, name)["outbox"] for name in names)

            def look(day: int) -> None:
                files = sum(file.stat().st_size for file in (base / "prefect").glob("prefect.db*"))
                both = [psutil.Process(one.pid) for one in (serving, server.process) if one]
                memory = [one.memory_info().rss for one in both]
                used = [sum(one.cpu_times()[:2]) for one in both]
                looked.append(
                    {
                        "day": day,
                        "seconds": round(time.time() - began),
                        "MiB of serve": round(memory[0] / 2**20, 1),
                        "MiB of the server": round(memory[1] / 2**20, 1),
                        "MiB of the database": round(files / 2**20, 2),
                        "CPU seconds of serve": round(used[0]),
                        "CPU seconds of the server": round(used[1]),
                        "changed": changed.total(),
                        "told": len(inbox.messages),
                    }
                )
                print(json.dumps(looked[-1]), file=sys.stderr, flush=True)

            look(0)
            for day in range(1, days + 1):
                for name in names:
                    now = [alert for alert in kinds if (alert in found[name]) != (rng.random() < share)]
                    changed[name] += len([alert for alert in kinds if (alert in now) != (alert in found[name])])
                    found[name] = now
                    run = linked(summary, name, days - day, alerts=now)
                    settle(store, name, now, run["run_id"], run["created"])
                    finished(server, places[name], f"{name} day {day}")
                if day % 5 == 0 or day == days:
                    until(told, f"the messages of day {day}", 3600)
                look(day)
            planned = patiently(server, "/flow_runs/count", {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}})
            runs = Counter(f"{flow}: {run['state_name'].lower()}" for flow in FLOW_NAMES for run in server.runs(flow))
    finally:
        if server.process is not None:
            end(server.process)
        inbox.close()
    numbers = [message["text"].rpartition("message ")[2] for message in inbox.messages]
    assert len(set(numbers)) == len(numbers) == changed.total(), (len(numbers), changed.total())
    for name in names:
        assert set(load_state(store, name)["open"]) == {alert["name"] for alert in found[name]}
    return {
        "datasets": datasets,
        "days": days,
        "messages, each once": len(numbers),
        "open": sum(map(len, found.values())),
        "planned by schedules": planned,
        "runs": dict(runs),
        "answers 503": BUSY["answers"],
        "looked": looked,
    }


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--datasets", type=int, default=50)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--share", type=float, default=0.07, help="of the alerts that open or close on a day")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="month-") as folder:
        sys.stdout.write(json.dumps(month(Path(folder), asked.datasets, asked.days, asked.share)) + "\n")


if __name__ == "__main__":
    main()
