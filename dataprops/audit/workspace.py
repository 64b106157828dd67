"""One audit at work: its options, its folders in the store, its files, and how its results appear in the store."""

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
    """A table of the run: a Parquet file that is whole or absent."""

    path: Path

    def read(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The table, or some of its columns."""
        return pd.read_parquet(self.path, columns=None if columns is None else list(columns))

    def write(self, table: pd.DataFrame) -> None:
        """Write it whole."""
        write_table(self.path, table)


@dataclass(frozen=True)
class ValueFile(Generic[Value]):
    """A plain value of the run: a JSON file that is whole or absent."""

    path: Path

    def read(self) -> Value:
        """The value."""
        return json.loads(self.path.read_text(encoding="utf-8"))

    def write(self, value: Value) -> None:
        """Write it whole; NaN and infinity become null."""
        write_text(self.path, to_json(value, indent=None))


@dataclass(frozen=True)
class RecordFile(Generic[Record]):
    """What a stage returned, for the stages after it."""

    path: Path
    kind: type[Record]

    def read(self) -> Record:
        """The record."""
        return record_from(self.kind, json.loads(self.path.read_text(encoding="utf-8")))

    def write(self, record: Record) -> Record:
        """Write it whole; returns it."""
        write_text(self.path, json.dumps(asdict(record)))
        return record


@dataclass(frozen=True)
class Workspace:
    """The files of an audit at work, by what they hold.

    What becomes a result is written in `results` once, under its final name; the folder is published by one rename.
    """

    folder: Path

    @property
    def results(self) -> Path:
        """The folder that is to be published."""
        return self.folder / "results"

    def _record(self, kind: type[Record]) -> RecordFile[Record]:
        return RecordFile(self.folder / f"{kind.__name__.lower()}.json", kind)

    def _result(self, name: str) -> TableFile:
        return TableFile(self.results / f"{name}.parquet")

    @property
    def scanned(self) -> RecordFile[Scanned]:
        """What `scan` saw."""
        return self._record(Scanned)

    @property
    def decoded(self) -> RecordFile[Decoded]:
        """What `decode` made."""
        return self._record(Decoded)

    @property
    def passed(self) -> RecordFile[Passed]:
        """What `distances` computed."""
        return self._record(Passed)

    @property
    def listing(self) -> TableFile:
        """The images of the source, undecoded: image, path, key (bytes), label, y, split, group. By `scan`."""
        return TableFile(self.folder / "listing.parquet")

    @property
    def described(self) -> TableFile:
        """What else a manifest says of each image, as texts; only where it does. By `scan`."""
        return TableFile(self.folder / "described.parquet")

    @property
    def files(self) -> TableFile:
        """The listing with content, pixels, shard, row and facts of each file. By `decode`."""
        return TableFile(self.folder / "files.parquet")

    @property
    def shard_names(self) -> ValueFile[list[str]]:
        """The shard files that the numbers in `files` stand for. By `decode`."""
        return ValueFile(self.folder / "shards.json")

    @property
    def rows(self) -> Path:
        """The rows of the pass: where their pixels lie, labels, which are compared. By `distances`."""
        return self.folder / "rows.npz"

    @property
    def pass_state(self) -> Path:
        """What the pass over pairs found. By `distances`."""
        return self.folder / "pass.npz"

    @property
    def images(self) -> TableFile:
        """Result: the images with their local values. By `measure`."""
        return self._result("images")

    @property
    def neighbours(self) -> TableFile:
        """Result: the nearest images of each. By `measure`."""
        return self._result("neighbours")

    @property
    def properties(self) -> TableFile:
        """Result: the measured properties of the set. By `measure`."""
        return self._result("properties")

    @property
    def pairs(self) -> TableFile:
        """Result: near-identical and sharpest pairs. By `measure`; see `near_pairs`, `sharpest_pairs`."""
        return self._result("pairs")

    @property
    def probe(self) -> TableFile:
        """Result: what the reference classifier makes of each image (`probe.record.COLUMNS`). By `probe`."""
        return self._result("probe")

    @property
    def feature_images(self) -> TableFile:
        """Result: the images in the space of the user's features (`feature_space.IMAGE_COLUMNS`); only where asked. By `probe`."""
        return self._result("feature_images")

    @property
    def feature_pairs(self) -> TableFile:
        """Result: near-identical and sharpest pairs in that space (`feature_space.PAIR_COLUMNS`); only where asked. By `probe`."""
        return self._result("feature_pairs")

    @property
    def probed(self) -> ValueFile[dict[str, Any]]:
        """The summary's `probe`, or why there is none (`probe_withheld`). By `probe`."""
        return ValueFile(self.folder / "probed.json")

    @property
    def witness(self) -> Path:
        """What the reference classifier says of each image of a set with classes, where there is one. By `probe`, for `find`."""
        return self.folder / "witness.npz"

    @property
    def change(self) -> ValueFile[dict[str, Any]]:
        """Paired change of the probe's loss since the previous audit, or why it is withheld. By `probe`."""
        return ValueFile(self.folder / "change.json")

    @property
    def change_images(self) -> TableFile:
        """Loss of each image before and after (`findings.since.Since.losses`). By `probe`."""
        return TableFile(self.folder / "change_images.parquet")

    @property
    def findings(self) -> TableFile:
        """Result: the findings. By `find`."""
        return self._result("findings")

    @property
    def shortcuts(self) -> TableFile:
        """Result: how well properties of the files tell the class. By `find`."""
        return self._result("shortcuts")

    @property
    def measures(self) -> ValueFile[dict[str, float]]:
        """The numbers that checks look at. By `find`."""
        return ValueFile(self.folder / "measures.json")

    @property
    def checks(self) -> TableFile:
        """Result: the checks with their outcome. By `check`."""
        return self._result("checks")

    @property
    def alerts(self) -> TableFile:
        """Result: the alerts. By `check`."""
        return self._result("alerts")

    @property
    def data_docs(self) -> Path:
        """Result: pages of Great Expectations. By `check`."""
        return self.results / "data_docs"

    @property
    def summary(self) -> ValueFile[dict[str, Any]]:
        """The summary, until `report` publishes it. By `check`."""
        return ValueFile(self.folder / "summary.json")

    @property
    def seconds(self) -> ValueFile[dict[str, float]]:
        """Seconds that each stage before `report` took. By the composition."""
        return ValueFile(self.folder / "seconds.json")

    @property
    def run_row(self) -> TableFile:
        """Result: one row that describes the run. By `report`."""
        return self._result("run")

    def near_pairs(self) -> pd.DataFrame:
        """Near-identical pairs of distinct images: a, b, distance."""
        return self._pairs("near_duplicate", ["a", "b", "distance"])

    def sharpest_pairs(self) -> pd.DataFrame:
        """The sharpest pairs, the sharpest first: a, b, distance, sharpness."""
        return self._pairs("sharpest", ["a", "b", "distance", "sharpness"])

    def _pairs(self, kind: str, columns: list[str]) -> pd.DataFrame:
        pairs = self.pairs.read(["kind", *columns])
        return pairs.loc[pairs["kind"] == kind, columns].reset_index(drop=True)


@dataclass(frozen=True)
class Run:
    """One audit: its options and where it works. Small and picklable: this is what stages hand on."""

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
        """The files in it."""
        return Workspace(self.work)

    @property
    def results(self) -> Path:
        """Folder of the finished run."""
        return Path(self.store) / "results" / self.config.dataset / self.run_id

    @property
    def shards(self) -> Path:
        """Folder of the canonical images, of all runs."""
        return Path(self.store) / "shards"

    @property
    def states(self) -> Path:
        """Folder of what passes over the dataset found."""
        return Path(self.store) / "states" / self.config.dataset


SWEPT = ("shards", "states")  # folders of the store in which decoders and passes write


def run_name(begun: datetime) -> str:
    """Name of a run that begins now. Runs are ordered by their names, also two that begin within one second.

    >>> run_name(datetime(2026, 11, 27, 8, 30, 0, 500_000, tzinfo=UTC))
    '20261127T083000Z-8000'
    """
    # the fraction of the second in 16 bits
    return f"{begun:%Y%m%dT%H%M%SZ}-{begun.microsecond * 65536 // 1_000_000:04x}"


def _just_after(name: str) -> datetime | None:
    """The first moment whose run would follow this one; None if the name tells no time."""
    stamp, _, fraction = name.partition("-")
    try:
        begun = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return begun + timedelta(microseconds=-(-(int(fraction, 16) + 1) * 1_000_000 // 65536))
    except ValueError:
        return None


def start_run(config: AuditConfig) -> Run:
    """Open the store and make the folder of a new run; the caller holds the dataset's lock.

    What a killed run left in its work folder is removed, as are unfinished files of processes that are gone: all that is worth
    keeping lies elsewhere. Where the clock was set back since the newest run, the run is dated right after it: what is newest
    stays so, for comparisons, alerts and pruning.
    """
    store = open_store(config.store)
    source = Path(config.source)
    if source.is_dir() and store.is_relative_to(source.resolve()):
        raise DatapropsError(f"the store {store} lies inside the source {source}: choose a --store outside of it")
    now = datetime.now(UTC)
    newest = [folder.name for folder in finished_runs(store, config.dataset)[-1:]]
    if newest and run_name(now) <= newest[0] and (later := _just_after(newest[0])):
        log.warning("the clock shows %s, before the run %s: this run is dated right after it", run_name(now), newest[0])
        now = later
    run = Run(config, run_name(now), now.isoformat(timespec="seconds"), str(store))
    shutil.rmtree(run.work.parent, ignore_errors=True)
    for part in stale_parts(store, SWEPT):
        part.unlink(missing_ok=True)
    run.work.mkdir(parents=True)
    return run


def publish(run: Run) -> Path:
    """Move the finished results to their place, in one rename; remove the work folder.

    Raises
    ------
    MachineError
        If the store is gone: what was written since lies where nobody would look for it.
    """
    if not (Path(run.store) / "version.json").is_file():
        raise MachineError(
            f"the store {run.store} is gone (removed, or unmounted, while it was used): restore or remount it"
        )
    run.results.parent.mkdir(parents=True, exist_ok=True)
    os.replace(run.files.results, run.results)
    shutil.rmtree(run.work, ignore_errors=True)
    return run.results
