"""One audit at work: its options, its folders in the store, and how its results appear there."""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dataprops.audit.config import AuditConfig
from dataprops.errors import DatapropsError
from dataprops.store.folder import open_store


@dataclass(frozen=True)
class Run:
    """One audit: its options and where it works. Small and picklable: this is what stages hand on."""

    config: AuditConfig
    run_id: str
    created: str
    store: str

    @property
    def work(self) -> Path:
        return Path(self.store) / "work" / self.config.dataset / self.run_id

    @property
    def results(self) -> Path:
        return Path(self.store) / "results" / self.config.dataset / self.run_id

    @property
    def shards(self) -> Path:
        return Path(self.store) / "shards"

    @property
    def states(self) -> Path:
        return Path(self.store) / "states" / self.config.dataset


def start_run(config: AuditConfig) -> Run:
    """Open the store and make the folder of a new run; the caller holds the dataset's lock.

    What a killed run left in its work folder is removed: all that is worth keeping lies elsewhere.
    """
    store = open_store(config.store)
    source = Path(config.source)
    if source.is_dir() and store.is_relative_to(source.resolve()):
        raise DatapropsError(f"the store {store} lies inside the source {source}: choose a --store outside of it")
    now = datetime.now(UTC)
    run = Run(config, f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}", now.isoformat(timespec="seconds"), str(store))
    shutil.rmtree(run.work.parent, ignore_errors=True)
    run.work.mkdir(parents=True)
    return run


def publish(run: Run, folder: Path) -> Path:
    """Move a finished result folder to its place, in one rename; remove the work folder."""
    run.results.parent.mkdir(parents=True, exist_ok=True)
    os.replace(folder, run.results)
    shutil.rmtree(run.work, ignore_errors=True)
    return run.results
