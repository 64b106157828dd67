"""A running audit: options, folders in the store, files, and the publication of its results."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import pandas as pd

from dataprops.audit.config import AuditConfig
from dataprops.audit.records import Decoded, Passed, Record, Scanned, record_from
from dataprops.errors import DatapropsError, MachineError
from dataprops.store.folder import finished_runs, open_store, start_of
from dataprops.store.prune import stale_parts
from dataprops.store.tables import write_table
from dataprops.util.files import write_text
from dataprops.util.json import to_json

log = logging.getLogger(__name__)

Value = TypeVar("Value")
File = TypeVar("File")


class TableFile(NamedTuple):
    """A table of the run: a Parquet file, written atomically."""

    path: Path

    def read(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The table, or some of its columns."""
        return pd.read_parquet(self.path, columns=None if columns is None else list(columns))

    def write(self, table: pd.DataFrame) -> None:
        """Write the table."""
        write_table(self.path, table)


@dataclass(frozen=True)
class ValueFile(Generic[Value]):
    """A plain value of the run: a JSON file, written atomically."""

    path: Path

    def read(self) -> Value:
        """The value."""
        return json.loads(self.path.read_text(encoding="utf-8"))

    def write(self, value: Value) -> None:
        """Write the value; NaN and infinity become null."""
        write_text(self.path, to_json(value, indent=None))


@dataclass(frozen=True)
class RecordFile(Generic[Record]):
    """A stage's record, for later stages."""

    path: Path
    kind: type[Record]

    def read(self) -> Record:
        """The record."""
        return record_from(self.kind, json.loads(self.path.read_text(encoding="utf-8")))

    def write(self, record: Record) -> Record:
        """Write the record; returns it."""
        write_text(self.path, json.dumps(asdict(record)))
        return record


class At(Generic[File]):
    """A file of the `Workspace`, made from its folder."""

    def __init__(self, made: Callable[[Path], File]) -> None:
        self.made = made

    def __get__(self, workspace: Workspace, kind: type[Workspace]) -> File:
        return self.made(workspace.folder)


def _record(kind: type[Record]) -> At[RecordFile[Record]]:
    return At(lambda folder: RecordFile(folder / f"{kind.__name__.lower()}.json", kind))


def _table(name: str) -> At[TableFile]:
    return At(lambda folder: TableFile(folder / f"{name}.parquet"))


def _result(name: str) -> At[TableFile]:
    return _table(f"results/{name}")


def _values(name: str) -> At[ValueFile[dict[str, Any]]]:
    return At(lambda folder: ValueFile(folder / f"{name}.json"))


@dataclass(frozen=True)
class Workspace:
    """The files of a running audit, by the stage that writes them.

    Results are written to `results` under their final names; the folder is published by one rename.
    """

    folder: Path

    results = At(lambda folder: folder / "results")

    # scan
    scanned = _record(Scanned)
    listing = _table("listing")  # the images of the source: image, path, key (bytes), label, y, split, group
    described = _table("described")  # further manifest columns, as strings, if there are any

    # decode
    decoded = _record(Decoded)
    files = _table("files")  # the listing with content hash, pixel hash, shard, row and metadata of each file
    shard_names = At(lambda folder: ValueFile[list[str]](folder / "shards.json"))  # by shard number in `files`

    # distances
    passed = _record(Passed)
    rows = At(
        lambda folder: folder / "rows.npz"
    )  # of the pass: location of their pixels, labels, and which are compared
    pass_state = At(lambda folder: folder / "pass.npz")  # result of the pass over all pairs

    # measure
    images = _result("images")  # with per-image values
    neighbours = _result("neighbours")  # nearest of each image
    properties = _result("properties")  # of the dataset
    pairs = _result("pairs")  # near-identical and sharpest; see `near_pairs`, `sharpest_pairs`

    # probe
    probe = _result("probe")  # out-of-fold predictions of the reference classifier (`probe.record.COLUMNS`)
    feature_images = _result("feature_images")  # in the user's feature space (`feature_space.IMAGE_COLUMNS`)
    feature_pairs = _result("feature_pairs")  # in that space (`feature_space.PAIR_COLUMNS`)
    probed = _values("probed")  # the summary's `probe`, or why there is none (`probe_withheld`)
    witness = At(lambda folder: folder / "witness.npz")  # evidence on each label, for datasets with classes
    change = _values("change")  # paired change of the probe's loss since the previous audit, or why it is withheld
    change_images = _table("change_images")  # loss of each image before and after (`findings.since.Since.losses`)

    # find
    findings = _result("findings")
    shortcuts = _result("shortcuts")  # how well file properties predict the class
    measures = At(lambda folder: ValueFile[dict[str, float]](folder / "measures.json"))  # used by checks

    # check
    checks = _result("checks")  # with their outcome
    alerts = _result("alerts")
    data_docs = At(lambda folder: folder / "results" / "data_docs")
    summary = _values("summary")  # until `report` publishes it

    # composition: duration of each stage before `report`, seconds
    seconds = At(lambda folder: ValueFile[dict[str, float]](folder / "seconds.json"))

    # report
    run_row = _result("run")  # one row with the run's metadata

    def near_pairs(self) -> pd.DataFrame:
        """Near-identical pairs of distinct images: a, b, distance."""
        return self._pairs("near_duplicate", ["a", "b", "distance"])

    def sharpest_pairs(self) -> pd.DataFrame:
        """The sharpest pairs, in decreasing order: a, b, distance, sharpness."""
        return self._pairs("sharpest", ["a", "b", "distance", "sharpness"])

    def _pairs(self, kind: str, columns: list[str]) -> pd.DataFrame:
        pairs = self.pairs.read(["kind", *columns])
        return pairs.loc[pairs["kind"] == kind, columns].reset_index(drop=True)


@dataclass(frozen=True)
class Run:
    """An audit run: options, id and store. Small and picklable; passed to every stage."""

    config: AuditConfig
    run_id: str
    created: str
    store: str

    @property
    def work(self) -> Path:
        """Folder of the unfinished run."""
        return Path(self.store) / "work" / self.config.dataset / self.run_id

    @property
    def files(self) -> Workspace:
        """Files of the unfinished run."""
        return Workspace(self.work)

    @property
    def results(self) -> Path:
        """Folder of the finished run."""
        return Path(self.store) / "results" / self.config.dataset / self.run_id

    @property
    def shards(self) -> Path:
        """Folder of the canonical images, shared by all runs."""
        return Path(self.store) / "shards"

    @property
    def states(self) -> Path:
        """Folder of the dataset's cached pass results."""
        return Path(self.store) / "states" / self.config.dataset


SWEPT = ("shards", "states")  # folders of the store in which decoders and passes write


def run_name(begun: datetime) -> str:
    """Id of a run that starts at `begun`. Ids sort by start time, also within a second.

    >>> run_name(datetime(2026, 11, 27, 8, 30, 0, 500_000, tzinfo=UTC))
    '20261127T083000Z-8000'
    """
    # the fraction of the second in 16 bits
    return f"{begun:%Y%m%dT%H%M%SZ}-{begun.microsecond * 65536 // 1_000_000:04x}"


def _just_after(name: str) -> datetime | None:
    """The earliest start time whose run id sorts after this one; None if the id has no time."""
    begun, fraction = start_of(name), name.partition("-")[2]
    if begun is None or not re.fullmatch("[0-9a-f]{1,4}", fraction):
        return None
    return begun + timedelta(microseconds=-(-(int(fraction, 16) + 1) * 1_000_000 // 65536))


def start_run(config: AuditConfig) -> Run:
    """Open the store and create the work folder of a new run; the caller holds the dataset's lock.

    Removes work folders of killed runs and unfinished files of dead processes; reusable data are elsewhere. If the clock was set back
    since the newest run, the new run is dated just after it, so that the newest run stays last for comparisons, alerts and pruning.

    Raises
    ------
    DatapropsError
        If the store is inside the source.
    """
    store = open_store(config.store)
    source = Path(config.source)
    if source.is_dir() and store.is_relative_to(source.resolve()):
        raise DatapropsError(f"the store {store} is inside the source {source}: choose a --store outside it")
    now = datetime.now(UTC)
    newest = [folder.name for folder in finished_runs(store, config.dataset)[-1:]]
    if newest and run_name(now) <= newest[0] and (later := _just_after(newest[0])):
        log.warning(
            "the clock shows %s, earlier than the run %s: this run is dated just after it", run_name(now), newest[0]
        )
        now = later
    run = Run(config, run_name(now), now.isoformat(timespec="seconds"), str(store))
    shutil.rmtree(run.work.parent, ignore_errors=True)
    for part in stale_parts(store, SWEPT):
        part.unlink(missing_ok=True)
    run.work.mkdir(parents=True)
    return run


def publish(run: Run) -> Path:
    """Publish the finished results by one rename, and remove the work folder.

    Raises
    ------
    MachineError
        If the store disappeared (removed or unmounted) during the run.
    """
    if not (Path(run.store) / "version.json").is_file():
        raise MachineError(
            f"the store {run.store} disappeared (removed or unmounted while in use): restore or remount it"
        )
    run.results.parent.mkdir(parents=True, exist_ok=True)
    os.replace(run.files.results, run.results)
    shutil.rmtree(run.work, ignore_errors=True)
    return run.results
