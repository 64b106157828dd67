"""A store with many audits: seconds of history, compare, the page and prune. ``python -m tests.benchmarks.load --runs 1000``.

One folder of images is audited; its results are linked under as many more runs, each with its own id and time, as a thousand nights
would have left them. Every command is then timed in this process (its imports and one call on a small store before), best of three.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from dataprops.audit import audit
from dataprops.audit.history import compare, find_runs, timeline
from dataprops.report.store_page import render_store
from dataprops.store.folder import finished_runs
from dataprops.store.prune import Policy, holding, plan, remove
from tests.make_images import random_folder

OPTIONS: dict[str, Any] = {"size": 16, "k": 5, "draws": 2, "sample": 50, "estimators": ("mle",), "probe": False}


def fill(store: Path, source: Path, runs: int) -> str:
    """A store with so many finished audits of one dataset; its name."""
    summary = audit(source, store=str(store), **OPTIONS)
    made = Path(summary["results"])
    first = datetime.fromisoformat(summary["created"])
    for number in range(1, runs):
        when = first - timedelta(days=number)
        run_id = f"{when.astimezone(UTC):%Y%m%dT%H%M%SZ}-{number:04x}"
        folder = made.parent / run_id
        folder.mkdir()
        for file in made.rglob("*"):
            place = folder / file.relative_to(made)
            if file.is_dir():
                place.mkdir(exist_ok=True)
            elif file.name != "summary.json":
                os.link(file, place)
        told = summary | {"run_id": run_id, "created": when.isoformat(), "results": str(folder)}
        (folder / "summary.json").write_text(json.dumps(told), encoding="utf-8")
    return summary["dataset"]


def seconds(what: Callable[[], object], times: int = 3) -> float:
    """The best of some runs."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        what()
        taken.append(time.perf_counter() - start)
    return min(taken)


def measure(store: Path, name: str) -> dict[str, float]:
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
    asked = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="load-"))
    try:
        random_folder(base / "scans", {"cat": asked.images // 2, "dog": asked.images // 2})
        for runs in (3, asked.runs):  # the first warms imports up
            store = base / f"store{runs}"
            name = fill(store, base / "scans", runs)
            found = measure(store, name)
        told = {
            "runs": asked.runs,
            "left": len(finished_runs(store, name)),
            **{k: round(v, 3) for k, v in found.items()},
        }
        sys.stdout.write(json.dumps(told) + "\n")
    finally:
        shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    main()
