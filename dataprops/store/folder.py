"""The store: one folder that holds everything the system writes.

    STORE/
      version.json                      schema of the store
      salt                              random key for hashing patient, study and series ids, created once
      shards/<preprocess>/              canonical images, content-addressed (see `shards`)
      states/<dataset>/<pass>.npz       result of the last pass over pairs, for incremental passes
      work/<dataset>/<run>/             an unfinished run; removed when its results are published, or by the next run if it was killed
      results/<dataset>/<run>/          results of a finished run: Parquet tables, summary.json, report.html, data_docs/
      calibrations/<id>/                laws fitted to the store's experiments (see `laws.calibrations`)
      experiments/<name>/               data, properties and cells of a training grid (see `experiment`)
      locks/<dataset>.lock              held while the dataset is audited
      gone/                             data being deleted by `prune`, which holds .prune.lock while it deletes shards
      alerts/<dataset>.json             open alerts and undelivered notifications (see `checks.open_alerts`)
      watch/<dataset>.parquet           files as last reported by the watcher
      prefect/                          Prefect's files, unless PREFECT_HOME is set
      errors/                           tracebacks of commands that ended with exit code 3
      cache/                            matplotlib's font cache, unless MPLCONFIGDIR is set, and others

A result folder appears by one rename once complete. Tables are plain Parquet; the schema version is in their metadata and in
run.parquet.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from dataprops.errors import DatapropsError, MachineError
from dataprops.store.migrations import MIGRATIONS, current_summary
from dataprops.store.tables import SCHEMA
from dataprops.util.files import write_aside, write_text
from dataprops.util.nearest import did_you_mean

GATE = ".prune.lock"
MARKER = {"schema": SCHEMA, "made_by": "dataprops"}
# present in a used store
PARTS = ("salt", "shards/version.json", "results", "states", "calibrations", "experiments")
log = logging.getLogger(__name__)


def open_store(path: str | Path) -> Path:
    """Create or open a store; an older schema is migrated (`MIGRATIONS`).

    Raises
    ------
    DatapropsError
        If the folder cannot be written, is neither empty nor a store, or has an unsupported schema.
    """
    folder = Path(path).expanduser().resolve()
    marker = folder / "version.json"
    if marker.is_file():
        if _schema(marker) != SCHEMA:
            _migrate(folder)
        return folder
    _refuse_lost_marker(folder)
    try:
        if folder.is_dir() and any(entry.name not in ("prefect", "cache", "errors") for entry in folder.iterdir()):
            raise DatapropsError(f"{folder} is not empty and is not a dataprops store: choose another --store")
        folder.mkdir(parents=True, exist_ok=True)
        write_text(marker, json.dumps(MARKER) + "\n")
    except OSError as error:
        raise MachineError(f"the store {folder} cannot be written: {error.strerror}: choose another --store") from error
    return folder


def _refuse_lost_marker(folder: Path) -> None:
    """Refuse a store without its marker file, which must not be treated as an empty folder.

    Raises
    ------
    DatapropsError
        If the folder is such a store.
    """
    if any((folder / name).exists() for name in PARTS):
        raise DatapropsError(
            f"{folder} is a dataprops store without its marker version.json (an incomplete copy or restore?): restore that file, or"
            f" create it with {json.dumps(MARKER)} if the store is of this version"
        )


def existing_store(path: str | Path) -> Path:
    """Open an existing store.

    Raises
    ------
    DatapropsError
        If there is none, or as `open_store`.
    """
    folder = Path(path).expanduser().resolve()
    if not (folder / "version.json").is_file():
        _refuse_lost_marker(folder)
        raise DatapropsError(f"{folder} is not a dataprops store: specify one with --store")
    return open_store(folder)


def _schema(marker: Path) -> int:
    try:
        return int(json.loads(marker.read_text())["schema"])
    except (ValueError, KeyError, TypeError) as error:
        raise DatapropsError(f"{marker} is damaged ({error}): restore it, or choose another --store") from error


def _migrate(folder: Path) -> None:
    """Migrate a store to `SCHEMA` step by step, under locks; version.json is rewritten after each step."""
    from filelock import FileLock

    marker = folder / "version.json"
    with FileLock(folder / ".migrate.lock"), ExitStack() as held:
        schema = _schema(marker)  # another process may have migrated it meanwhile
        if schema > SCHEMA or any(step not in MIGRATIONS for step in range(schema, SCHEMA)):
            raise DatapropsError(
                f"the store {folder} has schema {schema}, but this version uses {SCHEMA}: use another --store, or the"
                " version of dataprops that created it"
            )
        for lock in sorted((folder / "locks").glob("*.lock")):
            held.enter_context(locked(folder, lock.stem))
        for step in range(schema, SCHEMA):
            log.info("migrating the store %s from schema %d to %d", folder, step, step + 1)
            MIGRATIONS[step](folder)
            write_text(marker, json.dumps({"schema": step + 1, "made_by": "dataprops"}) + "\n")


def open_salt(store: Path) -> str:
    """The store's hashing key, hexadecimal; created on first use. Whoever has it can test guesses of an id."""
    from filelock import FileLock

    path = store / "salt"
    if not path.is_file():
        with FileLock(store / ".salt.lock"):
            if not path.is_file():
                write_aside(path, _write_salt)
    try:
        salt = path.read_text(encoding="ascii").strip()
        if len(bytes.fromhex(salt)) < 16:
            raise ValueError("it is too short")
    except (OSError, ValueError) as error:
        raise DatapropsError(
            f"{path} is damaged ({error}): restore it, or delete it (patient hashes then differ from earlier runs)"
        ) from error
    return salt


def _write_salt(aside: Path) -> None:
    aside.touch(mode=0o600)
    aside.write_text(secrets.token_hex(32) + "\n", encoding="ascii")


@contextmanager
def locked(store: Path, dataset: str, wait: float = 0.0) -> Iterator[None]:
    """Hold the dataset's lock, so that only one audit of it runs at a time. Released by the operating system if the process dies.

    Waits up to `wait` seconds for the lock, then until pruning of shards ends (`closed`).
    """
    from filelock import FileLock, Timeout

    with dataset_lock(store, dataset, wait):
        gate = FileLock(store / GATE)
        try:
            gate.acquire(timeout=1.0)  # other audits hold it only for an instant, prune for longer
        except Timeout:
            log.info("shards of %s are being deleted: the audit of %s is waiting", store, dataset)
            gate.acquire()
        gate.release()
        yield


@contextmanager
def closed(store: Path) -> Iterator[None]:
    """Prevent audits from starting, even the first of a dataset, which has no lock file yet.

    Inside, take locks with `dataset_lock`. Audits already running are not affected: the caller checks for them.
    """
    from filelock import FileLock

    with FileLock(store / GATE):
        yield


@contextmanager
def dataset_lock(store: Path, dataset: str, wait: float = 0.0) -> Iterator[None]:
    """Hold only the dataset's lock, even while the store is `closed`.

    Raises
    ------
    DatapropsError
        If another process still holds it after `wait` seconds.
    """
    from filelock import FileLock, Timeout

    path = store / "locks" / f"{dataset}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=wait)
    try:
        lock.acquire()
    except Timeout:
        raise DatapropsError(
            f"another audit of {dataset!r} is running in {store}: wait for it to finish, or use another --name"
        ) from None
    try:
        yield
    finally:
        lock.release()


def finished_runs(store: Path, dataset: str) -> list[Path]:
    """Result folders of a dataset, oldest first."""
    folder = store / "results" / dataset
    return sorted(path.parent for path in folder.glob("*/summary.json"))


def load_summary(results: Path) -> dict:
    """The summary of a finished run, converted to the current schema."""
    return current_summary(json.loads((results / "summary.json").read_text(encoding="utf-8")))


def start_of(run: str) -> datetime | None:
    """Start time of a run, from its id; None for other names."""
    try:
        return datetime.strptime(run.partition("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def dataset_names(store: Path) -> list[str]:
    """Names of the datasets with a finished run, sorted."""
    return sorted({path.parents[1].name for path in (store / "results").glob("*/*/summary.json")})


def runs_of(store: Path, dataset: str) -> list[Path]:
    """As `finished_runs`.

    Raises
    ------
    DatapropsError
        If there is none.
    """
    names = dataset_names(store)
    if dataset not in names:
        there = f"{did_you_mean(dataset, names)}it has {', '.join(names) or 'none'}"
        raise DatapropsError(f"{store} has no finished audit of {dataset!r}: {there}")
    return finished_runs(store, dataset)


def readable(runs: Iterable[Path]) -> Iterator[tuple[Path, dict]]:
    """Result folders whose summary can be read, each with it; of others a warning."""
    for folder in runs:
        try:
            yield folder, load_summary(folder)
        except (OSError, ValueError) as error:
            log.warning("the summary of run %s cannot be read (%s)", folder.name, error)


def previous_summary(store: Path, dataset: str, before: str) -> dict | None:
    """Summary of the dataset's newest finished run before run id `before`; None if there is none."""
    earlier = (folder for folder in reversed(finished_runs(store, dataset)) if folder.name < before)
    return next((summary for _, summary in readable(earlier)), None)


def other_summaries(store: Path, dataset: str) -> list[dict]:
    """Summaries of the newest finished runs of the store's other datasets, by name."""
    others = (finished_runs(store, name) for name in dataset_names(store) if name != dataset)
    newest = (next((summary for _, summary in readable(reversed(runs))), None) for runs in others)
    return [summary for summary in newest if summary is not None]
