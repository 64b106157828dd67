"""Status of a running audit: a small file in its work folder, read by the terminal and the store's page.

It is removed with the work folder when the audit ends. A file left by a killed process is recognised by its process id.
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
SECONDS = 1.0  # minimum interval between progress updates
# stage -> description
WORDS = {
    "scan": "listing the images",
    "decode": "reading and decoding",
    "distances": "comparing all pairs",
    "measure": "measuring dimension and sharpness",
    "probe": "training the reference classifier",
    "find": "searching for duplicates, conflicts, leaks and shortcuts",
    "check": "checking thresholds",
    "report": "writing the report",
}


class UnderWay:
    """Writes a run's status file."""

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
        """Record the start of a stage."""
        self._write({"stage": name, "what": WORDS.get(name, name), "since": _now()}, drop=("done", "total", "unit"))

    def progress(self, inner: Progress) -> Progress:
        """`inner`, with its count also written to the file."""

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
            stage = self._told.get("stage", "")  # the counted work is done, the stage is not
            self._write({"what": WORDS.get(stage, stage or what)}, drop=("done", "total", "unit"))

        return progress

    def _write(self, told: dict[str, Any], drop: tuple[str, ...] = ()) -> None:
        with self._lock:
            self._written = time.monotonic()
            self._told = {k: v for k, v in self._told.items() if k not in drop} | told
            try:
                write_text(self._path, json.dumps(self._told))
            except OSError:  # not essential; if the folder is gone, the audit itself fails
                return


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def running(store: Path, dataset: str = "*") -> list[dict[str, Any]]:
    """Status of the store's running audits: dataset, run_id, created, stage, what, since; and done, total, unit of counted work."""
    import psutil

    out = []
    for path in sorted((store / "work").glob(f"{dataset}/*/{FILE}")):
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # it just ended
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
    return str(told.get("what", "running"))
