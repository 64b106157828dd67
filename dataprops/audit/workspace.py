"""A running audit: options, folders in the store, files, and the publication of its results."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import pandas as pd

from dataprops.audit.config import AuditConfig
from dataprops.audit.records import Decoded, Passed, Record, Scanned, record_from
from dataprops.errors import DatapropsError, MachineError
from dataprops.store.folder import finished_runs, open_store
from dataprops.store.prune import stale_parts
from dataprops.store.tables import write_table
from dataprops.util.files import write_text
from dataprops.util.json import to_json

log = logging.getLogger(__name__)

Value = TypeVar("Value")


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


@dataclass(frozen=True)
class Workspace:
    """The files of a running audit.

    Results are written to `results` under their final names; the folder is published by one rename.
    """

    folder: Path

    @property
    def results(self) -> Path:
        """The folder to be published."""
        return self.folder / "results"

    def _record(self, kind: type[Record]) -> RecordFile[Record]:
        return RecordFile(self.folder / f"{kind.__name__.lower()}.json", kind)

    def _result(self, name: str) -> TableFile:
        return TableFile(self.results / f"{name}.parquet")

    @property
    def scanned(self) -> RecordFile[Scanned]:
        """Record of `scan`."""
        return self._record(Scanned)

    @property
    def decoded(self) -> RecordFile[Decoded]:
        """Record of `decode`."""
        return self._record(Decoded)

    @property
    def passed(self) -> RecordFile[Passed]:
        """Record of `distances`."""
        return self._record(Passed)

    @property
    def listing(self) -> TableFile:
        """The images of the source: image, path, key (bytes), label, y, split, group. Written by `scan`."""
        return TableFile(self.folder / "listing.parquet")

    @property
    def described(self) -> TableFile:
        """Further manifest columns, as strings, if there are any. Written by `scan`."""
        return TableFile(self.folder / "described.parquet")

    @property
    def files(self) -> TableFile:
        """The listing with content hash, pixel hash, shard, row and metadata of each file. Written by `decode`."""
        return TableFile(self.folder / "files.parquet")

    @property
    def shard_names(self) -> ValueFile[list[str]]:
        """Shard files, in the order of the shard numbers in `files`. Written by `decode`."""
        return ValueFile(self.folder / "shards.json")

    @property
    def rows(self) -> Path:
        """The rows of the pass: location of their pixels, labels, and which are compared. Written by `distances`."""
        return self.folder / "rows.npz"

    @property
    def pass_state(self) -> Path:
        """Result of the pass over all pairs. Written by `distances`."""
        return self.folder / "pass.npz"

    @property
    def images(self) -> TableFile:
        """Result: images with per-image values. Written by `measure`."""
        return self._result("images")

    @property
    def neighbours(self) -> TableFile:
        """Result: nearest neighbours of each image. Written by `measure`."""
        return self._result("neighbours")

    @property
    def properties(self) -> TableFile:
        """Result: properties of the dataset. Written by `measure`."""
        return self._result("properties")

    @property
    def pairs(self) -> TableFile:
        """Result: near-identical and sharpest pairs. Written by `measure`; see `near_pairs`, `sharpest_pairs`."""
        return self._result("pairs")

    @property
    def probe(self) -> TableFile:
        """Result: out-of-fold predictions of the reference classifier (`probe.record.COLUMNS`). Written by `probe`."""
        return self._result("probe")

    @property
    def feature_images(self) -> TableFile:
        """Result: images in the user's feature space, if requested (`feature_space.IMAGE_COLUMNS`). Written by `probe`."""
        return self._result("feature_images")

    @property
    def feature_pairs(self) -> TableFile:
        """Result: near-identical and sharpest pairs in that space, if requested (`feature_space.PAIR_COLUMNS`). Written by `probe`."""
        return self._result("feature_pairs")

    @property
    def probed(self) -> ValueFile[dict[str, Any]]:
        """The summary's `probe`, or why there is none (`probe_withheld`). Written by `probe`."""
        return ValueFile(self.folder / "probed.json")

    @property
    def witness(self) -> Path:
        """The reference classifier's evidence on each label, for datasets with classes. Written by `probe`, for `find`."""
        return self.folder / "witness.npz"

    @property
    def change(self) -> ValueFile[dict[str, Any]]:
        """Paired change of the probe's loss since the previous audit, or why it is withheld. Written by `probe`."""
        return ValueFile(self.folder / "change.json")

    @property
    def change_images(self) -> TableFile:
        """Loss of each image before and after (`findings.since.Since.losses`). Written by `probe`."""
        return TableFile(self.folder / "change_images.parquet")

    @property
    def findings(self) -> TableFile:
        """Result: the findings. Written by `find`."""
        return self._result("findings")

    @property
    def shortcuts(self) -> TableFile:
        """Result: how well file properties predict the class. Written by `find`."""
        return self._result("shortcuts")

    @property
    def measures(self) -> ValueFile[dict[str, float]]:
        """Measures used by checks. Written by `find`."""
        return ValueFile(self.folder / "measures.json")

    @property
    def checks(self) -> TableFile:
        """Result: the checks with their outcome. Written by `check`."""
        return self._result("checks")

    @property
    def alerts(self) -> TableFile:
        """Result: the alerts. Written by `check`."""
        return self._result("alerts")

    @property
    def data_docs(self) -> Path:
        """Result: Data Docs pages. Written by `check`."""
        return self.results / "data_docs"

    @property
    def summary(self) -> ValueFile[dict[str, Any]]:
        """The summary, until `report` publishes it. Written by `check`."""
        return ValueFile(self.folder / "summary.json")

    @property
    def seconds(self) -> ValueFile[dict[str, float]]:
        """Duration of each stage before `report`, seconds. Written by `composition`."""
        return ValueFile(self.folder / "seconds.json")

    @property
    def run_row(self) -> TableFile:
        """Result: one row with the run's metadata. Written by `report`."""
        return self._result("run")

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
    stamp, _, fraction = name.partition("-")
    try:
        begun = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return begun + timedelta(microseconds=-(-(int(fraction, 16) + 1) * 1_000_000 // 65536))
    except ValueError:
        return None


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
