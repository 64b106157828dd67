"""What an audit at work is doing: a small file in its work folder, for whoever looks - a terminal, the store's page.

The file is removed with the work folder when the audit ends. One left by a killed process is recognised by the process id in it.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dataprops.audit.workspace import Run
from dataprops.util.files import write_text
from dataprops.util.tools import Advance, Progress

FILE = "underway.json"
SECONDS = 1.0  # between two writings of one progress
# stage -> what it does
WORDS = {
    "scan": "listing the images",
    "decode": "reading and decoding",
    "distances": "comparing all pairs",
    "measure": "measuring dimension and sharpness",
    "probe": "training the reference classifier",
    "find": "looking for duplicates, conflicts, leaks and shortcuts",
    "check": "checking against the thresholds",
    "report": "writing the report",
}


class UnderWay:
    """Writes the file of a run."""

    def __init__(self, run: Run) -> None:
        self._path, self._lock, self._written = run.work / FILE, threading.Lock(), 0.0
        self._told: dict[str, Any] = {
            "dataset": run.config.dataset,
            "run_id": run.run_id,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "created": run.created,
        }

    def stage(self, name: str) -> None:
        """A stage begins."""
        self._write({"stage": name, "what": WORDS.get(name, name), "since": _now()}, drop=("done", "total", "unit"))

    def progress(self, inner: Progress) -> Progress:
        """`inner`, and its count in the file."""

        @contextmanager
        def progress(what: str, total: int, unit: str) -> Iterator[Advance]:
            done = 0
            self._write({"what": what, "done": 0, "total": total, "unit": unit, "since": _now()})
            with inner(what, total, unit) as advance:

                def both(more: int) -> None:
                    nonlocal done
                    advance(more)
                    done += more
                    if time.monotonic() - self._written > SECONDS:
                        self._write({"done": done})

                yield both
            stage = self._told.get("stage", "")  # what was counted is over, the stage is not
            self._write({"what": WORDS.get(stage, stage or what)}, drop=("done", "total", "unit"))

        return progress

    def _write(self, told: dict[str, Any], drop: tuple[str, ...] = ()) -> None:
        with self._lock:
            self._written = time.monotonic()
            self._told = {k: v for k, v in self._told.items() if k not in drop} | told
            try:
                write_text(self._path, json.dumps(self._told))
            except OSError:  # nobody can look then; the audit itself will say if its folder is gone
                return


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def running(store: Path, dataset: str = "*") -> list[dict[str, Any]]:
    """What audits of the store are doing now: dataset, run_id, created, stage, what, since; done, total, unit of what is counted."""
    import psutil

    out = []
    for path in sorted((store / "work").glob(f"{dataset}/*/{FILE}")):
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # it ended just now
            continue
        if told.get("host") == socket.gethostname() and not psutil.pid_exists(int(told.get("pid", -1))):
            continue
        out.append(told)
    return out


def in_words(told: dict[str, Any]) -> str:
    """'comparing pairs: 43 % of 50,000,000 pairs'."""
    if told.get("unit") == "%":
        return f"{told['what']}: {100 * told['done'] // told['total']:.0f} %"
    if told.get("total"):
        return f"{told['what']}: {100 * told['done'] // told['total']:.0f} % of {told['total']:,} {told['unit']}"
    return str(told.get("what", "at work"))
