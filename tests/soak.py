"""Operation under stress: ``python -m tests.soak --arrivals 200``.

Files come and go in random order and overlap while `dataprops serve` watches; audits are killed, `serve` is killed, the Prefect
server is restarted. At the end
- the newest results equal one audit of the final folder in a new store,
- no message was sent twice, each alert opened before it closed, and the messages tell what is open,
- nothing waits: no run, no news.
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
from pathlib import Path

import psutil

from dataprops.alert_state import load_state
from dataprops.audit import audit
from deployments.watcher import difference, last_audit, list_files, load_listing
from tests.make_images import random_folder
from tests.prefect_server import Inbox, PrefectServer, end, free_port, until

MEASURED = ("n_images", "intrinsic_dimension", "label_sharpness", "findings", "conflicts", "checks")
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
estimators = ["mle"]
draws = 2
tell = ["hook"]
settle = 1
poll = 5
again = 40
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


def runs_of(process_id: int) -> list[psutil.Process]:
    """Processes of flow runs below a process."""
    try:
        children = psutil.Process(process_id).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    found = []
    for child in children:
        try:
            if "prefect" in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


def soak(arrivals: int, seed: int, root: Path, pause: float) -> dict[str, int]:
    """Run it; returns what happened. Raises AssertionError if something was lost, wrong, or said twice."""
    rng = random.Random(seed)
    did = dict.fromkeys(("arrivals", "audits killed", "serve killed", "server restarts"), 0)
    random_folder(root / "set", {"a": 40, "b": 40})
    inbox, server = Inbox(), PrefectServer(root / "prefect")
    (root / "soak.toml").write_text(FILE.format(port=free_port(), inbox=inbox.url))
    server.start()
    serving = server.running("serve", "soak.toml", cwd=root, log=root / "serve.log")
    process = serving.__enter__()
    try:
        until(lambda: last_audit(root / "store", "set") > 0, "the first audit", 600)
        restart_at = arrivals // 2
        for number in range(arrivals):
            change(root / "set", rng, number)
            did["arrivals"] += 1
            time.sleep(rng.random() * pause)
            if rng.random() < 0.15 and (running := runs_of(process.pid)):
                rng.choice(running).kill()
                did["audits killed"] += 1
            if rng.random() < 0.05:
                end(process, signal.SIGKILL)
                did["serve killed"] += 1
                serving = server.running("serve", "soak.toml", cwd=root, log=root / "serve.log")
                process = serving.__enter__()
            if number == restart_at:
                server.stop()
                server.start()
                did["server restarts"] += 1
                if process.poll() is not None:  # a service manager would do it
                    serving = server.running("serve", "soak.toml", cwd=root, log=root / "serve.log")
                    process = serving.__enter__()
        until(lambda: _quiet(root, server), "the end of all audits and messages", 1800)
    finally:
        end(process)
        server.stop()
        inbox.close()
    _check(root, inbox)
    return did | {"messages": len(inbox.messages), "audits": len(list((root / "store/results/set").iterdir()))}


def _quiet(root: Path, server: PrefectServer) -> bool:
    """Nothing to do and nothing to say, and the last audit began after the last change was said."""
    time.sleep(1)
    said = root / "store/watch/set.parquet"
    if difference(load_listing(said), list_files(str(root / "set"))):
        return False
    if last_audit(root / "store", "set") < said.stat().st_mtime - 1:
        return False
    busy = ("SCHEDULED", "PENDING", "RUNNING", "CANCELLING")
    return not load_state(root / "store", "set")["outbox"] and not any(
        run["state_type"] in busy for flow in ("audit", "deliver") for run in server.runs(flow)
    )


def _check(root: Path, inbox: Inbox) -> None:
    newest = sorted((root / "store/results/set").glob("*/summary.json"))[-1]
    kept = json.loads(newest.read_text(encoding="utf-8"))
    fresh = audit(root / "set", store=str(root / "fresh"), name="set", **OPTIONS)
    for name in MEASURED:
        assert kept[name] == fresh[name], f"{name}: {kept[name]} after the soak, {fresh[name]} afresh"
    numbers = [message["text"].rpartition("message ")[2] for message in inbox.messages]
    assert len(set(numbers)) == len(numbers), "a message was sent twice"
    opened = load_state(root / "store", "set")["open"]
    told: dict[str, int] = {}
    for message in inbox.messages:
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
        print(soak(given.arrivals, given.seed, given.keep.resolve(), given.pause))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        print(soak(given.arrivals, given.seed, Path(folder), given.pause))
    return 0


if __name__ == "__main__":
    sys.exit(main())
