"""Deletion of old results, leftovers of killed runs, and unreferenced shards.

    holding   hold the locks of all datasets that are not being audited; for shards, also keep audits from starting
    plan      list what would be deleted; changes nothing
    remove    rename into STORE/gone/, then delete there: a kill at any point leaves results complete or absent, and the next prune
              deletes the rest

Never deleted: a dataset's newest finished run, data of a dataset that is being audited, states, alerts, calibrations and
experiments. A shard is kept if one of its contents is in the images of a kept run or in a dataset's list of known files.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from dataprops.errors import DatapropsError
from dataprops.store.folder import closed, dataset_lock, finished_runs, start_of
from dataprops.util.files import host_mark

log = logging.getLogger(__name__)

# .<name>.<pid>.<host mark><8 hex digits>.part: see `util.files.aside_of`; earlier versions have no host mark
PART = re.compile(r"(?:^|\.)(\d+)(?:\.([0-9a-f]{8})?[0-9a-f]{8})?\.part$")
STALE_SECONDS = 3600.0  # processes on other machines are invisible, but touch the files they write


class Going(NamedTuple):
    """An item to delete: `paths` in the order of renaming, bytes, and reason."""

    paths: tuple[Path, ...]
    bytes: int
    why: str


class Policy(NamedTuple):
    """Runs to keep: each dataset's newest N, and those of its last D days (either keeps a run; without both, all are kept).

    The days end at the dataset's newest run, and the run that was newest when they began is also kept, so a clock that jumps forward
    does not age runs.
    """

    keep_last: int | None = None
    keep_days: float | None = None
    shards: bool = False


def datasets_of(store: Path) -> list[str]:
    """Names of all datasets in the store."""
    names = {path.stem for path in (store / "locks").glob("*.lock")}
    names |= {path.stem for path in (store / "shards" / "files").glob("*.parquet")}
    names |= {path.name for part in ("results", "work") for path in (store / part).glob("*") if path.is_dir()}
    return sorted(names - {"dask-scratch-space"})


@contextmanager
def holding(store: Path, shards: bool = False) -> Iterator[tuple[list[str], list[str]]]:
    """Hold the locks of all datasets that are not being audited; yields (names held, names busy).

    With `shards`, audits cannot start meanwhile: the shards of a dataset's first audit are not yet referenced.
    """
    with ExitStack() as held:
        if shards:
            held.enter_context(closed(store))
        free, busy = [], []
        for name in datasets_of(store):
            try:
                held.enter_context(dataset_lock(store, name))
                free.append(name)
            except DatapropsError:
                busy.append(name)
        yield free, busy


def plan(store: Path, policy: Policy, free: list[str], busy: list[str], now: datetime | None = None) -> list[Going]:
    """Items that the policy deletes; call inside `holding`.

    Raises
    ------
    DatapropsError
        If the policy keeps no run, or shards are to be deleted while a dataset is being audited.
    """
    if (policy.keep_last is not None and policy.keep_last < 1) or (
        policy.keep_days is not None and policy.keep_days < 0
    ):
        raise DatapropsError("--keep-last must be at least 1, --keep-days at least 0")
    if policy.shards and busy:
        raise DatapropsError(f"{', '.join(busy)} is being audited: shards can be deleted only when no audit is running")
    out = [Going((path,), size_of(path), "left by a killed prune") for path in sorted((store / "gone").glob("*"))]
    gone: set[Path] = set()
    for name in free:
        for run in old_runs(store, name, policy, now or datetime.now(UTC)):
            gone.add(run)
            out.append(Going((run,), size_of(run), "an old run"))
        for work in sorted((store / "work" / name).glob("*")):
            out.append(Going((work,), size_of(work), "an unfinished run"))
    inside = [going.paths[0] for going in out]
    for part in stale_parts(store):
        if not any(part.is_relative_to(folder) for folder in inside):
            out.append(Going((part,), size_of(part), "left by a killed process"))
    if policy.shards:
        out += idle_shards(store, free, gone)
    return out


def old_runs(store: Path, dataset: str, policy: Policy, now: datetime) -> list[Path]:
    """Finished runs that the policy deletes, oldest first; never the newest."""
    if policy.keep_last is None and policy.keep_days is None:
        return []
    runs = finished_runs(store, dataset)
    older = runs[:-1] if policy.keep_last is None else runs[: -policy.keep_last]
    if policy.keep_days is None:
        return older
    times = {run: made for run in runs if (made := start_of(run.name)) is not None}  # others are kept
    first = min([now, *list(times.values())[-1:]]) - timedelta(days=policy.keep_days)
    replaced = dict(pairwise(times))
    return [run for run in older if run in replaced and times[replaced[run]] <= first]


def stale_parts(store: Path, names: Sequence[str] | None = None) -> list[Path]:
    """Unfinished files of dead processes; of processes on other machines, those not touched for an hour.

    Parameters
    ----------
    names : sequence of str, optional
        Subfolders of the store to search; default: all.
    """
    import psutil

    out = []
    for folder in sorted(store.glob("*") if names is None else (store / name for name in names)):
        if folder.name in ("prefect", "cache", "gone"):
            continue
        for path in sorted(folder.rglob("*.part")) if folder.is_dir() else [folder]:
            found = PART.search(path.name)
            try:
                old = _age(path) > STALE_SECONDS
            except FileNotFoundError:
                continue
            here = found is not None and found[2] == host_mark()
            if found and (old or here) and not psutil.pid_exists(int(found[1])):
                out.append(path)
    return out


def _age(path: Path) -> float:
    """Absolute age of a file, seconds; a time in the future (clock set back since) counts as age too."""
    return abs(time.time() - path.stat().st_mtime)


def idle_shards(store: Path, datasets: list[str], gone: set[Path]) -> list[Going]:
    """Shards without content used by a kept run or a list of known files.

    Raises
    ------
    DatapropsError
        If a list or run cannot be read, so that its references are unknown.
    """
    import pyarrow.parquet as pq

    def contents(path: Path) -> set[str]:
        try:
            return set(pq.read_table(path, columns=["content"])["content"].to_pylist()) - {None}
        except (OSError, ValueError, KeyError) as error:
            raise DatapropsError(
                f"{path} cannot be read ({error}): no shards are deleted; restore or delete it"
            ) from error

    wanted: set[str] = set()
    for name in datasets:
        files = store / "shards" / "files" / f"{name}.parquet"
        listed = [files] if files.is_file() else []
        for path in (*listed, *(run / "images.parquet" for run in finished_runs(store, name) if run not in gone)):
            wanted |= contents(path)
    out = []
    for pixels in sorted((store / "shards").glob("*/*.npy")):
        index = pixels.with_suffix(".parquet")
        # delete the index first: without it a shard is invalid
        paths = (index, pixels) if index.is_file() else (pixels,)
        if paths == (pixels,) and _age(pixels) < STALE_SECONDS:
            continue
        if paths == (pixels,) or not contents(index) & wanted:
            out.append(Going(paths, sum(map(size_of, paths)), "an unreferenced shard"))
    return out


def size_of(path: Path) -> int:
    """Size of a file or folder, bytes."""
    if path.is_dir() and not path.is_symlink():
        return sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())
    return path.lstat().st_size if path.exists() else 0


def remove(store: Path, going: list[Going]) -> None:
    """Delete the items: each is renamed into STORE/gone/ first."""
    bin_ = store / "gone"
    bin_.mkdir(exist_ok=True)
    for number, item in enumerate(going):
        for path in item.paths:
            if path.parent != bin_:
                aside = bin_ / f"{os.getpid()}.{number}.{path.name}"
                try:
                    os.replace(path, aside)
                except FileNotFoundError:
                    continue  # already deleted
                path = aside
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
