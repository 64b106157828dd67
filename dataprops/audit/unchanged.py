"""Reuse of the last run's tables if nothing is new.

Everything computed after `decode` is determined by the file table, the options, the thresholds and the program. Their hash is
stored with the last run; if it matches, the tables are linked into the new results. Predictions, checks and the report are always
redone: they depend on the previous audit and the calibration.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import dataprops
from dataprops.audit.records import Passed, record_from
from dataprops.audit.workspace import Run
from dataprops.checks.thresholds import load_thresholds
from dataprops.findings import since
from dataprops.findings.registry import FINDINGS
from dataprops.properties.estimators import ESTIMATORS
from dataprops.util.files import write_text
from dataprops.util.version import package_version

TABLES = (
    "images",
    "neighbours",
    "properties",
    "pairs",
    "probe",
    "findings",
    "shortcuts",
)  # names of `Workspace`'s files
FEATURE_TABLES = ("feature_images", "feature_pairs")  # with --features
NO_INFLUENCE = ("store", "name", "thresholds", "memory", "reason")  # options; thresholds are hashed by content


class LastRun(NamedTuple):
    """The last run: hash, results folder, and values that are not in its tables."""

    key: str
    results: str
    passed: dict[str, Any]
    measures: dict[str, float]
    probed: dict[str, Any]


def key_of(run: Run) -> str | None:
    """Hash of everything that determines this run's numbers; None if user code is involved.

    Requires `Workspace.files`, `scanned` and `decoded`.
    """
    if FINDINGS.extended or ESTIMATORS.extended or run.config.model:
        return None
    files, config = run.files, asdict(run.config)
    facts = {
        "program": program(),
        "options": {name: value for name, value in config.items() if name not in NO_INFLUENCE},
        "thresholds": [repr(check) for check in load_thresholds(run.config.thresholds)],
        "scanned": asdict(files.scanned.read()),
        "decoded": {**asdict(files.decoded.read()), "n_decoded": 0},
        "shards": files.shard_names.read(),
        "features": _features(run.config.features),
    }
    digest = hashlib.blake2b(json.dumps(facts, sort_keys=True, default=str).encode(), digest_size=16)
    for path in (files.files.path, files.described.path):
        if path.is_file():
            with path.open("rb") as table:
                while block := table.read(2**20):
                    digest.update(block)
    return digest.hexdigest()


def _features(file: str | None) -> str | None:
    if file is None:
        return None
    from dataprops.probe.feature_file import digest  # imports torch

    return digest(file)


def restore(run: Run, key: str | None) -> bool:
    """Reuse the last run's tables if it had this hash and they still exist; returns whether it did."""
    last = _load(run)
    if key is None or last is None or last.key != key:
        return False
    files = run.files
    names = (*TABLES, *FEATURE_TABLES) if run.config.features else TABLES
    found = {name: Path(last.results) / f"{name}.parquet" for name in names}
    if not all(path.is_file() for path in found.values()):
        return False
    for name, path in found.items():
        link(path, getattr(files, name).path)
    # relative to the previous audit nothing changed: drop findings about changes
    findings = files.findings.read()
    if findings["kind"].isin(since.KINDS).any():
        files.findings.write(findings[~findings["kind"].isin(since.KINDS)].reset_index(drop=True))
    passed = record_from(Passed, last.passed)
    files.passed.write(replace(passed, pairs=0, planned_bytes=0, used_bytes=0))
    files.measures.write({name: value for name, value in last.measures.items() if name not in since.MEASURES})
    files.probed.write(last.probed)
    return True


def remember(run: Run, key: str | None) -> None:
    """Save what `restore` needs, before the results are published."""
    path = _place(run)
    if key is None:
        path.unlink(missing_ok=True)
        return
    files = run.files
    last = LastRun(key, str(run.results), asdict(files.passed.read()), files.measures.read(), files.probed.read())
    path.parent.mkdir(parents=True, exist_ok=True)  # audits with anchors have no state folder
    write_text(path, json.dumps(last._asdict()))


def _place(run: Run) -> Path:
    return run.states / "last_run.json"


def _load(run: Run) -> LastRun | None:
    try:
        return LastRun(**json.loads(_place(run).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def program() -> list[Any]:
    """Identity of the program: version, and size and mtime of each module, so that an edited checkout differs."""
    root = Path(dataprops.__file__).parent
    stats = [(str(path.relative_to(root)), path.stat()) for path in sorted(root.rglob("*.py"))]
    return [package_version(), [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]]


def link(source: Path, target: Path) -> None:
    """Hard-link a file that is never modified in place; copy it if the file system has no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
