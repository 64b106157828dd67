"""Time of history, compare, the page and prune in a store with many audits: ``python -m tests.benchmarks.load --runs 1000``.

``--month 50`` simulates a month of 50 datasets in one store: a daily audit of each, with alerts that open and close at random and are
notified, and the store's page three times a day; reports the notifications, the sizes of `alerts/` and the page, and process memory.

One folder of images is audited, and its results are linked as many further runs with their own ids and times, as after a thousand
nights. Every command is then timed in this process (after its imports and one call on a small store), best of three: wall-clock and
CPU seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil

from dataprops.audit import audit
from dataprops.audit.comparison import compare
from dataprops.audit.history import find_runs, timeline
from dataprops.checks.open_alerts import forget, load_state, settle, write_receipt
from dataprops.report.store_page import render_store
from dataprops.store.folder import finished_runs
from dataprops.store.prune import Policy, holding, plan, remove
from tests.make_images import random_folder

OPTIONS: dict[str, Any] = {"size": 16, "k": 5, "draws": 2, "sample": 50, "estimators": ("mle",), "probe": False}


def fill(store: Path, source: Path, runs: int) -> str:
    """A store with so many finished audits of one dataset; its name."""
    summary = audit(source, store=str(store), **OPTIONS)
    for number in range(1, runs):
        linked(summary, summary["dataset"], number)
    return summary["dataset"]


def linked(summary: dict[str, Any], name: str, days: int, **more: Any) -> dict[str, Any]:
    """The summary of another finished audit, so many days before one: its files are linked."""
    made = Path(summary["results"])
    when = datetime.fromisoformat(summary["created"]) - timedelta(days=days)
    run_id = f"{when.astimezone(UTC):%Y%m%dT%H%M%SZ}-{abs(days):04x}"
    folder = made.parents[1] / name / run_id
    folder.mkdir(parents=True)
    told = summary | {"run_id": run_id, "created": when.isoformat(), "results": str(folder), "dataset": name} | more
    for file in made.rglob("*"):
        place = folder / file.relative_to(made)
        if file.is_dir():
            place.mkdir(exist_ok=True)
        elif file.name != "summary.json":
            os.link(file, place)
    (folder / "summary.json").write_text(json.dumps(told), encoding="utf-8")
    return told


def month(base: Path, datasets: int, days: int = 30, seed: int = 0) -> dict[str, Any]:
    """What a month of so many datasets did to a store and to this process.

    Raises
    ------
    AssertionError
        If news was told twice or not at all, or what is open is not what the last audits found.
    """
    store, rng = base / "store", random.Random(seed)
    summary = audit(base / "scans", store=str(store), **OPTIONS)
    names = [f"set{number:02d}" for number in range(datasets)]
    kinds = [{"name": f"check{kind}", "severity": "warning", "sentence": "It is so."} for kind in range(4)]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    told: dict[str, int] = {}
    changed, page, memory, took = 0, "", [], []
    for day in range(days):
        for name in names:
            now = [alert for alert in kinds if (alert in found[name]) != (rng.random() < 0.07)]
            changed += len([alert for alert in kinds if (alert in now) != (alert in found[name])])
            found[name] = now
            run = linked(summary, name, days - day, alerts=now)
            for news in settle(store, name, now, run["run_id"], run["created"]):
                told[news["id"]] = told.get(news["id"], 0) + 1
                write_receipt(store, name, news["id"], "inbox", run["created"])
                forget(store, name, [news["id"]])
        for _ in range(3):
            begin = time.process_time()
            page = render_store(store)
            took.append(time.process_time() - begin)
        memory.append(psutil.Process().memory_info().rss / 2**20)
    assert (set(told.values()), len(told)) == ({1}, changed)
    for name in names:
        assert set(load_state(store, name)["open"]) == {alert["name"] for alert in found[name]}
    files = [file for file in (store / "alerts").rglob("*") if file.is_file()]
    return {
        "datasets": datasets,
        "told": len(told),
        "open": sum(map(len, found.values())),
        "files of alerts": len(files),
        "bytes of alerts": sum(file.stat().st_size for file in files),
        "bytes of the page": len(page.encode()),
        "CPU seconds of the page": [round(min(took), 2), round(max(took), 2)],
        "MiB after each fifth day": [round(memory[at]) for at in range(0, days, 5)] + [round(memory[-1])],
    }


def seconds(what: Callable[[], object], times: int = 3) -> tuple[float, float]:
    """The best of some runs, by the clock and by the processor."""
    taken = []
    for _ in range(times):
        start, used = time.perf_counter(), time.process_time()
        what()
        taken.append((time.perf_counter() - start, time.process_time() - used))
    clock, processor = zip(*taken, strict=True)
    return min(clock), min(processor)


def measure(store: Path, name: str) -> dict[str, tuple[float, float]]:
    """Seconds of each command; prune is last, as what it removes is gone."""

    def planned() -> list:
        with holding(store, False) as (free, busy):
            return plan(store, Policy(keep_last=30), free, busy)

    out = {
        # as of a store of which no audit remembered what changed: each finished audit does, so it is for once
        "history, nothing remembered": seconds(lambda: timeline(store, name), 1),
        "history": seconds(lambda: timeline(store, name)),
        "history, last 10": seconds(lambda: timeline(store, name, 10)),
        "compare": seconds(lambda: compare(*find_runs(store, name, "previous"))),
        "page": seconds(lambda: render_store(store)),
        "prune, plan": seconds(planned),
    }
    going = planned()
    out["prune, remove"] = seconds(lambda: remove(store, going), 1)
    return out


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--month", type=int, metavar="DATASETS", help="Simulate a month of this many datasets instead.")
    asked = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="load-"))
    try:
        random_folder(base / "scans", {"cat": asked.images // 2, "dog": asked.images // 2})
        if asked.month:
            sys.stdout.write(json.dumps(month(base, asked.month)) + "\n")
            return
        for runs in (3, asked.runs):  # the first warms imports up
            store = base / f"store{runs}"
            name = fill(store, base / "scans", runs)
            found = measure(store, name)
        told = {
            "runs": asked.runs,
            "left": len(finished_runs(store, name)),
            **{name: [round(value, 3) for value in both] for name, both in found.items()},
        }
        sys.stdout.write(json.dumps(told) + "\n")
    finally:
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
