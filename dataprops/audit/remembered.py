"""Cache of comparisons between consecutive audits: finished results do not change, so each pair is compared once.

One file per dataset, ``cache/history/NAME.json`` in the store. It can be deleted at any time; missing comparisons are recomputed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dataprops.findings import FINDINGS
from dataprops.util.files import write_text
from dataprops.util.json import to_json

VERSION = 1  # of the file format


class Remembered:
    """Short comparisons of a dataset's runs, by their two run ids."""

    def __init__(self, store: Path, dataset: str) -> None:
        self.file = store / "cache" / "history" / f"{dataset}.json"
        self.known: dict[str, Any] = {}
        self.fresh = False
        with suppress(OSError, ValueError):
            held = json.loads(self.file.read_text(encoding="utf-8"))
            # with other kinds of findings the counts differ
            if isinstance(held, dict) and held.get("version") == VERSION and held.get("findings") == sorted(FINDINGS):
                self.known = held["runs"]

    def get(self, before: Path, after: Path) -> dict[str, Any] | None:
        """The stored comparison of two runs, if any."""
        return self.known.get(f"{before.name} {after.name}")

    def put(self, before: Path, after: Path, found: Mapping[str, Any]) -> None:
        """Store the comparison of two runs."""
        self.known[f"{before.name} {after.name}"] = dict(found)
        self.fresh = True

    def save(self, runs: set[str]) -> None:
        """Save new comparisons of runs that still exist; does nothing if the store is read-only."""
        if not self.fresh:
            return
        kept = {name: found for name, found in self.known.items() if set(name.split(" ")) <= runs}
        with suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.file, to_json({"version": VERSION, "findings": sorted(FINDINGS), "runs": kept}))
