"""Operation under stress: ``python -m tests.soak --arrivals 200``.

Files come and go in random order and overlap while `dataprops serve` watches. Meanwhile runs are killed, Dask workers of audits
are killed, `serve` is killed alone and with all that runs below it (as if its machine had died), and the Prefect server is
restarted once. At the end
- the newest results equal one audit of the final folder in a new store, number by number and table by table,
- an audit that lost a worker finished, and no run ended badly that was left alone,
- no message was sent twice, each alert opened before it closed, and the messages tell what is open,
- nothing waits: no run, no news, and no process is left of what was killed.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import psutil

from dataprops.audit import audit
from dataprops.checks.open_alerts import load_state
from deployments.watcher import difference, last_audit, list_files, load_listing
from tests.make_images import random_folder
from tests.prefect_server import Inbox, PrefectServer, end, free_port, until

# share of the arrivals after which something is killed; of each kind at least one
KILLS = {"run": 0.06, "worker": 0.06, "serve": 0.02, "machine": 0.005}
MEASURED = ("n_images", "intrinsic_dimension", "label_sharpness", "findings", "conflicts")
# what is written of images and pairs; the others tell of the run and of what changed since the one before
TABLES = ("images", "findings", "neighbours", "pairs", "properties", "shortcuts")
PLACES = ["row", "shard"]  # in the store, which depend on the order of arrivals
FILE = """
store = "store"
pool = "soak"
base_url = "http://127.0.0.1:{port}"
[channels.hook]
kind = "webhook"
url = "{inbox}/soak"
[datasets.set]
source = "set"
watch = "set"
size = 12
k = 5
cluster = "processes"
workers = 2
estimators = ["mle"]
draws = 2
tell = ["hook"]
settle = 1
poll = 5
again = 120
"""
OPTIONS = {"size": 12, "k": 5, "estimators": ("mle",), "draws": 2}


def change(folder: Path, rng: random.Random, number: int) -> str:
    """One arrival: files added, a file removed, a conflict planted, or the conflicts removed."""
    kind = rng.choice(["add", "add", "remove", "plant", "clean"])
    label = rng.choice("ab")
    files = sorted(path for path in (folder / label).glob("*.png") if not path.name.startswith("twin"))
    if kind == "add":
        made = random_folder(folder.parent / "made", {label: rng.randint(1, 5)}, seed=number + 1000)
        for name in made:
            shutil.copy(folder.parent / "made" / name, folder / label / f"new-{number}-{Path(name).name}")
    elif kind == "remove" and len(files) > 30:
        rng.choice(files).unlink()
    elif kind == "plant":
        other = "b" if label == "a" else "a"
        shutil.copy(rng.choice(files), folder / other / f"twin-{number}.png")
    else:
        for twin in folder.glob("*/twin-*.png"):
            twin.unlink()
    return kind


def deck(arrivals: int, rng: random.Random) -> list[str | None]:
    """What is killed after each arrival."""
    kills = [kind for kind, share in KILLS.items() for _ in range(max(1, round(share * arrivals)))]
    cards: list[str | None] = [*kills, *[None] * (arrivals - len(kills))]
    rng.shuffle(cards)
    return cards


def run_of(process: psutil.Process, url: str) -> str | None:
    """The flow run that a process belongs to, of the server with this address; "" if it belongs to no run."""
    try:
        environment = process.environ()
    except psutil.Error:
        return None
    return environment.get("PREFECT__FLOW_RUN_ID", "") if environment.get("PREFECT_API_URL") == url else None


def processes(url: str, kind: str = "run") -> list[tuple[psutil.Process, str]]:
    """Processes of flow runs, or the Dask workers below them, and the runs that they belong to."""
    found = []
    for process in psutil.process_iter():
        run = run_of(process, url)
        try:
            words = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if run and ("spawn_main" if kind == "worker" else "prefect") in words:
            found.append((process, run))
    return found


class Soak:
    """One soak: a folder, a server, a place that takes messages, and `dataprops serve`.

    Parameters
    ----------
    root : Path
        Where everything is kept.
    seed : int
        Of the arrivals and, apart from them, of the kills: the folder at the end depends on nothing else.
    """

    def __init__(self, root: Path, seed: int) -> None:
        self.root, self.rng, self.fate = root, random.Random(seed), random.Random(seed + 1)
        self.killed: dict[str, list[str]] = {kind: [] for kind in KILLS}  # kind -> runs that were hit
        self.disturbed: set[str] = set()  # runs that may end badly: killed, or without a server
        self.happened = Counter[str]()
        random_folder(root / "set", {"a": 40, "b": 40})
        self.inbox, self.server = Inbox(), PrefectServer(root / "prefect")
        # a run whose machine died holds its place until the lease ends, by default for five minutes; an audit here takes less than one
        self.server.environment["PREFECT_SERVER_CONCURRENCY_INITIAL_DEPLOYMENT_LEASE_DURATION"] = "120"
        (root / "soak.toml").write_text(FILE.format(port=free_port(), inbox=self.inbox.url))

    def serve(self) -> None:
        """Start `dataprops serve`."""
        self.serving = self.server.running("serve", "soak.toml", cwd=self.root, log=self.root / "serve.log")
        self.process = self.serving.__enter__()

    def run(self, arrivals: int, pause: float) -> dict[str, int]:
        """All of it; returns what happened.

        Raises
        ------
        AssertionError
            If something was lost, wrong, or said twice.
        """
        self.pause = pause
        self.server.start()
        self.serve()
        try:
            self.wait(lambda: last_audit(self.root / "store", "set") > 0, "the first audit", 1200)
            for number, kind in enumerate(deck(arrivals, self.fate)):
                self.happened[f"arrivals: {change(self.root / 'set', self.rng, number)}"] += 1
                time.sleep(self.fate.random() * pause)
                self.wait(lambda: True, "`serve`", 60)
                if kind is not None:
                    self.kill(kind)
                if number == arrivals // 2:
                    self.restart_server()
                if (number + 1) % 10 == 0:
                    print(f"{number + 1} of {arrivals} arrivals", dict(self.happened), file=sys.stderr, flush=True)
            self.wait(self.quiet, "the end of all audits and messages", 2400)
            left = [process.pid for process, _ in processes(self.server.url, "worker")]
            assert not left, f"workers {left} of killed audits are still there"
            runs = [*self.server.runs("audit"), *self.server.runs("deliver")]
            seen = {"runs": runs, "messages": self.inbox.messages, "killed": self.killed, "happened": self.happened}
            (self.root / "seen.json").write_text(json.dumps(seen | {"disturbed": sorted(self.disturbed)}, indent=1))
        finally:
            end(self.process)
            for process, _ in [*processes(self.server.url), *processes(self.server.url, "worker")]:
                process.kill()
            self.server.stop()
            self.inbox.close()
        self.check(runs)
        for run in runs:
            self.happened[f"runs: {run['state_type'].lower()}"] += 1
        results = len(list((self.root / "store/results/set").iterdir()))
        return dict(sorted(self.happened.items())) | {"messages": len(self.inbox.messages), "results": results}

    def wait(self, condition: Callable[[], Any], what: str, seconds: float) -> Any:
        """Wait for a condition; `serve` is started again if it ended by itself, as a service manager would do."""

        def checked() -> Any:
            if self.process.poll() is not None:
                self.happened["serve ended by itself"] += 1
                self.serve()
            return condition()

        return until(checked, what, seconds)

    def kill(self, kind: str) -> None:
        """Kill something of a kind that is running; wait for it, if nothing is."""
        if kind in ("run", "worker"):
            chosen = self.wait(lambda: processes(self.server.url, kind), f"a {kind} to kill", 1200)
            time.sleep(self.fate.random() * self.pause)  # not always right after it began
            process, run = self.fate.choice(processes(self.server.url, kind) or chosen)
            with suppress(psutil.NoSuchProcess):  # it ended meanwhile: nothing is killed
                process.kill()
                self.happened[f"killed: {kind}"] += 1
            self.killed[kind].append(run)
            if kind == "run":
                self.disturbed.add(run)
        else:
            below = processes(self.server.url)
            end(self.process, signal.SIGKILL)
            for process, run in below:
                if kind == "machine":
                    with suppress(psutil.NoSuchProcess):
                        process.kill()
                # one that is just starting does not outlive the process that started it
                self.disturbed.add(run)
            self.serve()
            self.happened[f"killed: {kind}"] += 1

    def restart_server(self) -> None:
        """The Prefect server goes and comes."""
        self.disturbed |= {run for _, run in processes(self.server.url)}
        self.server.stop()
        self.server.start()
        self.happened["server restarts"] += 1

    def quiet(self) -> bool:
        """Nothing to do and nothing to say, and the last audit began after the last change was said."""
        time.sleep(1)
        said = self.root / "store/watch/set.parquet"
        if difference(load_listing(said), list_files(str(self.root / "set"))):
            return False
        if last_audit(self.root / "store", "set") < said.stat().st_mtime - 1:
            return False
        busy = ("SCHEDULED", "PENDING", "RUNNING", "CANCELLING")
        return not load_state(self.root / "store", "set")["outbox"] and not any(
            run["state_type"] in busy for flow in ("audit", "deliver") for run in self.server.runs(flow)
        )

    def check(self, runs: list[dict]) -> None:
        """What must be so at the end."""
        newest = sorted((self.root / "store/results/set").glob("*/summary.json"))[-1]
        kept = json.loads(newest.read_text(encoding="utf-8"))
        fresh = audit(self.root / "set", store=str(self.root / "fresh"), name="set", **OPTIONS)
        for name in MEASURED:
            assert kept[name] == fresh[name], f"{name}: {kept[name]} after the soak, {fresh[name]} afresh"
        # what compares with the audit before is checked in one of the two alone
        failed = [summary["checks"].get("failed") for summary in (kept, fresh)]
        assert failed[0] == failed[1], f"checks: {failed[0]} failed after the soak, {failed[1]} afresh"
        afresh = self.root / "fresh/results/set" / fresh["run_id"]
        for name in TABLES:
            one, two = (
                pd.read_parquet(folder / f"{name}.parquet").drop(columns=PLACES, errors="ignore")
                for folder in (newest.parent, afresh)
            )
            pd.testing.assert_frame_equal(one, two, check_exact=True, obj=name)
        ended = {run["id"]: run["state_type"] for run in runs}
        bad = {run: state for run, state in ended.items() if state not in ("COMPLETED", "CANCELLED")}
        assert set(bad) <= self.disturbed, f"runs that were left alone ended badly: {set(bad) - self.disturbed}"
        lost = {run: ended[run] for run in self.killed["worker"] if run not in self.disturbed}
        assert set(lost.values()) <= {"COMPLETED"}, f"audits that lost a worker: {lost}"
        self.happened["audits that lost a worker and finished"] = len(lost)
        self._check_messages()

    def _check_messages(self) -> None:
        # what the server itself says (a run fell silent) has no number and is never closed
        ours = [message for message in self.inbox.messages if "message " in message["text"]]
        self.happened["messages of the server"] = len(self.inbox.messages) - len(ours)
        numbers = [message["text"].rpartition("message ")[2] for message in ours]
        assert len(set(numbers)) == len(numbers), "a message was sent twice"
        opened = load_state(self.root / "store", "set")["open"]
        told: dict[str, int] = {}
        for message in ours:
            mark, _, name = message["subject"].partition("] set: ")
            told[name] = told.get(name, 0) + (-1 if mark == "[closed" else 1)
        # what opened as a warning and became critical was told twice with good reason; nothing here does
        assert {name for name, balance in told.items() if balance} == set(opened), (told, opened)
        assert set(told.values()) <= {0, 1}, told


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arrivals", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pause", type=float, default=8.0, help="longest pause between two arrivals, seconds")
    parser.add_argument("--keep", type=Path, help="folder to work in, kept; must not exist")
    given = parser.parse_args()
    if given.keep:
        given.keep.mkdir(parents=True)
        print(json.dumps(Soak(given.keep.resolve(), given.seed).run(given.arrivals, given.pause), indent=1))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(Soak(Path(folder), given.seed).run(given.arrivals, given.pause), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
