"""What changed from each audit to the next, remembered: finished results do not change, so a thousand of them are compared once.

One file for each dataset, ``cache/history/NAME.json`` in the store. It may be lost at any time: what is missing is compared again.
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

VERSION = 1  # of what is remembered


class Remembered:
    """Brief comparisons of a dataset's runs, by the names of the two."""

    def __init__(self, store: Path, dataset: str) -> None:
        self.file = store / "cache" / "history" / f"{dataset}.json"
        self.known: dict[str, Any] = {}
        self.fresh = False
        with suppress(OSError, ValueError):
            held = json.loads(self.file.read_text(encoding="utf-8"))
            # other findings, or other words of them, are counted otherwise
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
        """Write new comparisons of runs that still exist; a read-only store is left as it is."""
        if not self.fresh:
            return
        kept = {name: found for name, found in self.known.items() if set(name.split(" ")) <= runs}
        with suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.file, to_json({"version": VERSION, "findings": sorted(FINDINGS), "runs": kept}))
