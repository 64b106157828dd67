"""The watcher: detects new data in a folder or remote prefix, and reports it once the files have settled.

    list -> wait until nothing changes for `settle` seconds -> compare with the last report -> send one event -> save the listing

The last reported listing is in `STORE/watch/<dataset>.parquet` (path, size, time), so that a restart finds what arrived meanwhile.
It is saved after the server accepted the event: a crash in between repeats the event with the same id, and costs one audit with
nothing new. If no audit follows an event (its run was lost), the watcher reports it again after `again` seconds.

Local folders use file system notifications (watchfiles); network folders and remote prefixes may have none, so all are also polled
every `poll` seconds.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dataprops.checks.open_alerts import NAMESPACE
from dataprops.errors import DatapropsError
from dataprops.store.folder import dataset_lock
from dataprops.store.tables import write_table
from deployments.datasets import REMOTE, DatasetEntry
from flows.notifications import last_audit
from tasks.events import ARRIVED, Event, event

log = logging.getLogger(__name__)

NAMES = 5  # file names listed in an event
LONGEST = 60.0  # in units of `settle`: after this, a folder that never settles is reported anyway

Listing = dict[str, tuple[int, int]]  # path -> size, time in ns (or a version number)
Send = Callable[[list[Event]], None]


@dataclass(frozen=True)
class Difference:
    """Files that differ between two listings."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


def difference(before: Listing, now: Listing) -> Difference:
    """Compare two listings.

    Examples
    --------
    >>> difference({"a": (1, 1), "b": (1, 1)}, {"b": (2, 1), "c": (1, 1)})
    Difference(added=('c',), changed=('b',), removed=('a',))
    """
    added = tuple(sorted(now.keys() - before.keys()))
    removed = tuple(sorted(before.keys() - now.keys()))
    changed = tuple(sorted(path for path in now.keys() & before.keys() if now[path] != before[path]))
    return Difference(added, changed, removed)


def list_files(place: str) -> Listing:
    """Size and time of every file below a folder or remote prefix, or of a single file; hidden files are ignored.

    Raises
    ------
    DatapropsError
        If it cannot be listed.
    """
    return _list_remote(place) if REMOTE.match(place) else _list_local(place)


def _list_local(place: str) -> Listing:
    found: Listing = {}
    try:
        if Path(place).is_file():
            state = os.stat(place)  # noqa: PTH116
            return {Path(place).name: (state.st_size, state.st_mtime_ns)}
        waiting = [""]
        seen: set[str] = set()
        while waiting:
            folder = waiting.pop()
            real = os.path.realpath(os.path.join(place, folder))  # noqa: PTH118 - once for each folder of many
            if real in seen:
                continue
            seen.add(real)
            try:
                entries = list(os.scandir(os.path.join(place, folder)))  # noqa: PTH118
            except OSError:
                if not folder:
                    raise
                continue  # deleted meanwhile
            for entry in entries:
                key = f"{folder}/{entry.name}" if folder else entry.name
                if entry.name.startswith("."):
                    continue
                try:
                    if entry.is_dir():
                        waiting.append(key)
                        continue
                    state = entry.stat()
                except OSError:
                    continue  # deleted meanwhile, or a dangling link
                if stat.S_ISREG(state.st_mode):
                    found[os.fsencode(key).decode("utf-8", "backslashreplace")] = (state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise DatapropsError(f"{place} cannot be listed: {error.strerror}") from error
    return found


def _list_remote(place: str) -> Listing:
    import fsspec

    try:
        system, root = fsspec.core.url_to_fs(place)
        system.invalidate_cache()
        rows: dict[str, dict[str, Any]] = system.find(root, detail=True)
    except Exception as error:
        raise DatapropsError(f"{place} cannot be listed: {error}") from error
    found = {}
    for path, row in rows.items():
        key = path.removeprefix(root).lstrip("/") or path.rpartition("/")[2]
        if not any(part.startswith(".") for part in key.split("/")):
            found[key] = (int(row.get("size") or 0), _version(row))
    return found


def _version(row: Mapping[str, Any]) -> int:
    """A number that changes with a remote file, from its version, checksum or time, as available."""
    for name in ("ETag", "etag", "md5", "generation", "LastModified", "last_modified", "mtime", "updated", "created"):
        if row.get(name) is not None:
            return uuid.uuid5(NAMESPACE, str(row[name])).int % 2**62
    return 0


def save_listing(path: Path, listing: Listing) -> None:
    """Save the reported listing."""
    rows = sorted(listing)
    sizes, times = [listing[row][0] for row in rows], [listing[row][1] for row in rows]
    write_table(path, pd.DataFrame({"path": rows, "size": sizes, "time": times}))


def load_listing(path: Path) -> Listing:
    """The last reported listing; empty if there is none."""
    if not path.is_file():
        return {}
    table = pd.read_parquet(path)
    return {row.path: (int(row.size), int(row.time)) for row in table.itertuples(index=False)}


def arrival(dataset: str, place: str, what: Difference, now: Listing, before: Listing) -> Event:
    """The event for a batch of changes; the same change gets the same id."""
    identity = f"{dataset}\n{sorted(before.items())}\n{sorted(now.items())}"
    payload = {
        "dataset": dataset,
        "place": place,
        "files": len(now),
        "added": len(what.added),
        "changed": len(what.changed),
        "removed": len(what.removed),
        "names": list((what.added + what.changed + what.removed)[:NAMES]),
    }
    return event(ARRIVED, dataset, payload, str(uuid.uuid5(NAMESPACE, identity)))


class Watcher:
    """Watches one dataset's folder, file or remote prefix.

    Parameters
    ----------
    dataset : DatasetEntry
        With `watch` set.
    store : Path
    send : callable
        Sends events to the server; raises if they were not accepted.
    """

    def __init__(self, dataset: DatasetEntry, store: Path, send: Send):
        self.dataset, self.store, self.send = dataset, store, send
        self.path = store / "watch" / f"{dataset.name}.parquet"
        self.stop = threading.Event()

    def run(self) -> None:
        """Watch until `stop` is set; what fails (an unmounted share, a restarting server) is retried."""
        while not self.stop.is_set():
            try:
                self.once()
            except Exception as error:  # noqa: BLE001 - the watcher must not end
                log.warning("watching %s: %s; retrying", self.dataset.name, error)
                self.stop.wait(min(self.dataset.poll, 30.0))
                continue
            self._wait_for_change()

    def once(self) -> Event | None:
        """List the files, wait until they settle, and report changes since the last report; returns the event, if any."""
        before = load_listing(self.path)
        now = list_files(self.dataset.watch)
        if not difference(before, now):
            return self._once_more(now)
        now = self._settled(now)
        what = difference(before, now)
        if self.stop.is_set() or not what:
            return None
        told = arrival(self.dataset.name, self.dataset.watch, what, now, before)
        return self._say(told, now)

    def _say(self, told: Event, now: Listing) -> Event:
        self.send([told])
        save_listing(self.path, now)
        counts = ", ".join(f"{told['payload'].get(name, 0)} {name}" for name in ("added", "changed", "removed"))
        log.info("%s: %s", self.dataset.name, counts)
        return told

    def _settled(self, now: Listing) -> Listing:
        """The listing once nothing has changed for `settle` seconds.

        After `LONGEST`, the listing of settled files only, so that a folder that is written to all day is audited too.
        """
        began = quiet_since = time.monotonic()
        touched = dict.fromkeys(now, began)
        while time.monotonic() - quiet_since < self.dataset.settle:
            if self.stop.wait(min(self.dataset.settle / 4, 2.0)):
                return now
            later = list_files(self.dataset.watch)
            moment = time.monotonic()
            if what := difference(now, later):
                quiet_since = moment
                touched.update(dict.fromkeys(what.added + what.changed, moment))
            now = later
            if moment - began > LONGEST * self.dataset.settle:
                quiet = moment - self.dataset.settle
                return {path: state for path, state in now.items() if touched.get(path, began) < quiet}
        return now

    def _once_more(self, now: Listing) -> Event | None:
        """Report an arrival again if no audit followed it (its run was lost, or there was no automation).

        Not while an audit runs: it may have started after the report, and repeating it would start another. (Audits that take longer
        than `again` would then follow each other forever.)
        """
        if not now or not self.path.is_file():
            return None
        said, moment = self.path.stat().st_mtime, time.time()
        if (
            abs(moment - said) < self.dataset.again
            # a time in the future is from before the clock was set back: ignore it
            or said - self.dataset.settle <= last_audit(self.store, self.dataset.name) <= moment
            or _is_audited(self.store, self.dataset.name)
        ):
            return None
        payload = {"dataset": self.dataset.name, "place": self.dataset.watch, "files": len(now), "reason": "said again"}
        return self._say(event(ARRIVED, self.dataset.name, payload), now)

    def _wait_for_change(self) -> None:
        place = Path(self.dataset.watch)
        if REMOTE.match(self.dataset.watch) or not place.exists():
            self.stop.wait(self.dataset.poll)
            return
        from watchfiles import watch

        folder = place if place.is_dir() else place.parent
        limit = int(min(self.dataset.poll, 86400) * 1000)
        # any notification, or the timeout, suffices: changes are found by comparing listings
        for _ in watch(folder, stop_event=self.stop, rust_timeout=limit, yield_on_timeout=True, raise_interrupt=False):
            return


def _is_audited(store: Path, dataset: str) -> bool:
    """Whether an audit of the dataset is running, on any machine that shares the store."""
    try:
        with dataset_lock(store, dataset):
            return False
    except DatapropsError:
        return True
