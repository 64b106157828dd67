"""Clocks that jump, forward and back: the numbers, the order of runs, alerts, news, arrivals and what may be deleted stay right.

Locks are held by the operating system, and waits are measured by a clock that does not jump; of runs that fall silent see
`test_recovery`.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pandas as pd
import pytest
from click.testing import CliRunner

from dataprops.audit import workspace
from dataprops.audit.composition import audit
from dataprops.checks import open_alerts
from dataprops.store import hashing, prune
from dataprops.store.folder import finished_runs, open_store
from deployments import schedules
from flows import notifications
from flows.cli import main
from flows.operation import Operation
from tests.make_images import random_folder
from tests.make_results import images_table, write_result
from tests.test_deployments import watcher

NOW = datetime.now(UTC)
YEAR = timedelta(days=365)
MEASURED = ("n_images", "intrinsic_dimension", "label_sharpness", "findings")
TABLES = ("images", "neighbours", "pairs", "properties", "findings")


def set_clock(monkeypatch, moment: datetime, *modules) -> None:
    """What modules take for the time."""
    shown = type("Clock", (datetime,), {"now": classmethod(lambda cls, tz=None: moment)})
    for module in modules:
        monkeypatch.setattr(module, "datetime", shown)
    monkeypatch.setattr(time, "time", moment.timestamp)


def grow(scans: Path, number: int) -> None:
    """Add images to a folder of them, and a copy of its first."""
    random_folder(scans, {"cat/more": 2 + number, "dog/more": 3}, seed=number + 1)
    shutil.copyfile(scans / "cat/000.png", scans / "cat/twin.png")


OPTIONS = {"size": 12, "k": 4, "estimators": ("mle",), "draws": 2, "probe": False}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> list[dict]:
    """First audits of the set as it grows, by the clock that runs."""
    scans = tmp_path_factory.mktemp("undisturbed") / "scans"
    random_folder(scans, {"cat": 16, "dog": 16})
    found = []
    for number in range(2):
        grow(scans, number)
        found.append(audit(scans, store=str(scans.parent / f"fresh{number}"), **OPTIONS))
    return found


@pytest.mark.parametrize("jumps", [(-2, 1), (2, -3), (10, 0), (0, -10)], ids=str)
def test_audits_of_a_growing_set_are_those_of_a_clock_that_runs(jumps, undisturbed, tmp_path, monkeypatch):
    random_folder(tmp_path / "scans", {"cat": 16, "dog": 16})
    store = tmp_path / "store"
    audit(tmp_path / "scans", store=str(store), **OPTIONS)
    for number, (years, fresh) in enumerate(zip(jumps, undisturbed, strict=True)):
        set_clock(monkeypatch, NOW + years * YEAR, workspace)
        grow(tmp_path / "scans", number)
        grown = audit(tmp_path / "scans", store=str(store), **OPTIONS)
        assert {name: grown[name] for name in MEASURED} == {name: fresh[name] for name in MEASURED}
        newest = finished_runs(store, "scans")[-1]
        assert newest.name == grown["run_id"]
        for name in TABLES:
            one, two = (
                pd.read_parquet(folder / f"{name}.parquet").drop(columns=["row", "shard"], errors="ignore")
                for folder in (newest, Path(fresh["results"]))
            )
            pd.testing.assert_frame_equal(one, two, check_exact=True, obj=name)
    shown = CliRunner().invoke(main, ["history", "scans", "--store", str(store), "--json"])
    assert shown.exit_code == 0, shown.output
    kept = [run.name for run in finished_runs(store, "scans")]
    assert [run["run_id"] for run in json.loads(shown.stdout)["runs"]] == kept
    gone = CliRunner().invoke(main, ["prune", "--store", str(store), "--keep-last", "1", "--yes"])
    assert gone.exit_code == 0, gone.output
    assert [run.name for run in finished_runs(store, "scans")] == kept[-1:]


def test_days_of_runs_to_keep_are_not_those_of_a_clock_that_jumped(tmp_path):
    store = open_store(tmp_path / "store")
    runs = [NOW - timedelta(days=days) for days in (200, 100, 60, 30, 2)]

    def goes(*ahead: timedelta, clock: datetime) -> int:
        names = [f"{moment:%Y%m%dT%H%M%SZ}-aaaa" for moment in (*runs, *(NOW + jump for jump in ahead))]
        for name in names:
            if not (store / "results/scans" / name).is_dir():
                write_result(store, name, images_table(["a", "b"], ["cat", "dog"]))
        going = [item.paths[0].name for item in prune.plan(store, prune.Policy(keep_days=90), ["scans"], [], clock)]
        assert going == names[: len(going)]
        return len(going)

    assert goes(clock=NOW) == 1
    assert goes(clock=NOW + 10 * YEAR) == 1
    assert goes(clock=NOW - 10 * YEAR) == 0
    # audits while it is ahead: the newest run of before stays
    assert goes(YEAR, clock=NOW + YEAR) == 4
    assert goes(YEAR, YEAR + timedelta(days=1), clock=NOW + YEAR + timedelta(days=2)) == 4
    # and set right again, before the next run and after it, which is dated after those of that time
    assert goes(YEAR, clock=NOW) == 1


@pytest.mark.parametrize("ahead", [False, True])
def test_files_that_change_places_are_noticed_whatever_time_they_have(ahead, tmp_path):
    """Those of a set that was written while the clock was ahead, too."""
    stamp = time.time_ns() + (1 if ahead else -1) * 10**18
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    for path, pixels in ((one, b"1" * 99), (two, b"2" * 99)):
        path.write_bytes(pixels)
        os.utime(path, ns=(stamp, stamp))
    before = [hashing.changed_at(path) for path in (one, two)]
    time.sleep(0.02)  # the time of an entry has steps of some milliseconds
    one.rename(tmp_path / "aside")
    two.rename(one)
    (tmp_path / "aside").rename(two)
    assert not {hashing.changed_at(path) for path in (one, two)} & set(before)
    os.utime(one, ns=(2**63 - 1, 2**63 - 1))
    assert hashing.changed_at(one)[1] < 2**63


@pytest.mark.parametrize("ahead", [False, True])
def test_what_a_dead_decoder_left_is_swept_also_if_its_time_lies_ahead(ahead, tmp_path):
    store = open_store(tmp_path / "store")
    part = store / "shards/.shard.999999999.0123456700000000.part"
    part.parent.mkdir()
    part.write_bytes(b"unfinished")
    assert prune.stale_parts(store) == []  # another machine may be writing it
    then = time.time() + (1 if ahead else -1) * 2 * prune.STALE_SECONDS
    os.utime(part, (then, then))
    assert prune.stale_parts(store) == [part]


def test_a_run_that_dies_is_told_after_the_clock_was_set_back(tmp_path, monkeypatch):
    """Not those that the last audit made good; which of them these are is known from the first look on."""
    runs: list = []
    monkeypatch.setattr(notifications, "_troubled_runs", lambda dataset: runs)
    monkeypatch.setattr(notifications, "pass_on", lambda *arguments, **options: None)

    def crashed(moment: datetime) -> None:
        state = SimpleNamespace(timestamp=moment, is_scheduled=lambda: False, message="it died", name="Crashed")
        runs.append(SimpleNamespace(id=f"run {len(runs)}", start_time=moment, state=state))

    def look(moment: datetime) -> list:
        set_clock(monkeypatch, moment, notifications)
        return notifications.notice(tmp_path, "chest", 30, Operation())

    open_alerts.settle(tmp_path, "chest", [], "r1", (NOW + YEAR).isoformat())
    crashed(NOW - YEAR)
    assert look(NOW) == []
    crashed(NOW + timedelta(seconds=5))
    assert [item["name"] for item in look(NOW + timedelta(seconds=60))] == [open_alerts.RUN_FAILED]
    assert look(NOW + timedelta(seconds=120)) == []


@pytest.mark.parametrize("jump", [-YEAR, YEAR], ids=["back", "forward"])
def test_news_that_waits_is_sent_whatever_the_clock_shows_since(jump, tmp_path, monkeypatch):
    sent: list = []
    monkeypatch.setattr(notifications, "send_once", lambda channel, block, news, *_: sent.append(news["name"]) or True)
    open_alerts.record_failure(tmp_path, "chest", "It failed.", "r1", NOW.isoformat())
    how = Operation("warning", {"ward": "kind/name"})
    set_clock(monkeypatch, NOW + timedelta(seconds=10), notifications)
    assert notifications.send_waiting(tmp_path, "chest", how, {}) == 0  # its event is on the way
    set_clock(monkeypatch, NOW + jump, notifications)
    assert notifications.send_waiting(tmp_path, "chest", how, {}) == 1
    assert sent == [open_alerts.RUN_FAILED]


@pytest.mark.parametrize("years", [-1, 1])
def test_an_arrival_is_said_again_until_an_audit_follows_whatever_the_clock_shows(years, tmp_path):
    random_folder(tmp_path / "chest", {"a": 2})
    events: list = []
    watching = watcher(tmp_path, tmp_path / "chest", events, again=60)
    ahead = time.time() + 365 * 86400
    # an audit of before, while the clock was ahead
    run = tmp_path / f"store/results/chest/{datetime.fromtimestamp(ahead, UTC):%Y%m%dT%H%M%SZ}-abcd"
    run.mkdir(parents=True)
    (run / "summary.json").write_text("{}")
    os.utime(run / "summary.json", (ahead, ahead))
    watching.once()
    then = time.time() + years * 365 * 86400
    os.utime(watching.path, (then, then))
    watching.once()
    assert [event["payload"].get("reason") for event in events] == [None, "said again"]
    later = time.time() - 120
    os.utime(watching.path, (later, later))
    # the audit that followed; its name comes after that of the one before
    after = run.with_name(run.name.replace("abcd", "abce"))
    after.mkdir()
    (after / "summary.json").write_text("{}")
    watching.once()
    assert len(events) == 2


class Scheduling:
    """A Prefect client, as far as schedules ask it."""

    def __init__(self, *ahead: timedelta, cron: str = "0 3 * * *", zone: str = "UTC", active: bool = True) -> None:
        schedule = SimpleNamespace(cron=cron, timezone=zone)
        row = SimpleNamespace(schedule=schedule, active=active)
        self.deployment = SimpleNamespace(id=uuid4(), name="chest", paused=False, schedules=[row])
        self.planned = {
            uuid4(): datetime.now(UTC) + moment for moment in (*ahead, timedelta(hours=-30), timedelta(days=700))
        }
        self.by_hand = list(self.planned)[-1]
        self.deleted: list = []
        self.others: list = []
        self.asked = 0

    def __enter__(self) -> Scheduling:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def read_deployments(self, deployment_filter, limit, offset) -> list:
        assert deployment_filter.tags.all_ == ["dataprops", "project:ward"]
        return [*self.others, self.deployment][offset : offset + limit]

    def read_flow_runs(self, flow_run_filter, sort, limit, offset) -> list:
        assert flow_run_filter.tags.all_ == ["dataprops", "project:ward"]
        assert sort.value == "EXPECTED_START_TIME_ASC"
        self.asked += 1
        after, whose = flow_run_filter.expected_start_time.after_, self.deployment.id
        runs = [
            SimpleNamespace(id=run, expected_start_time=moment, auto_scheduled=run != self.by_hand, deployment_id=whose)
            for run, moment in self.planned.items()
            if moment >= after
        ]
        for other in self.others:
            soon = after + timedelta(hours=1)
            runs.append(
                SimpleNamespace(id=uuid4(), expected_start_time=soon, auto_scheduled=True, deployment_id=other.id)
            )
        return sorted(runs, key=lambda run: run.expected_start_time)[offset : offset + limit]

    def delete_flow_run(self, run) -> None:
        self.deleted.append(run)


@pytest.mark.parametrize(
    ("ahead", "more", "deleted"),
    [
        ((400, 401, 402), {}, 3),  # planned by a clock that was ahead
        ((), {}, 0),  # the server is about to plan some
        ((1, 2, 3), {}, 0),
        ((1, 400, 401), {}, 0),  # it runs next as it should
        ((400, 401, 402), {"active": False}, 0),
        ((150, 300, 450), {"cron": "0 3 1 1,6,9 *"}, 0),  # rare, and right
        ((400, 401, 402), {"cron": "0 3 30 2 *"}, 0),  # never due: nothing is said of it, and the others are looked at
        ((400, 401, 402), {"zone": "Nowhere/Nix"}, 0),  # a zone that this machine does not know
    ],
)
def test_what_a_clock_that_was_ahead_planned_does_not_silence_a_schedule(ahead, more, deleted, monkeypatch):
    import prefect.client.orchestration

    server = Scheduling(*(timedelta(days=days) for days in ahead), **more)
    monkeypatch.setattr(prefect.client.orchestration, "get_client", lambda **options: server)
    assert schedules.plan_anew(("dataprops", "project:ward")) == deleted
    assert server.deleted == list(server.planned)[:deleted]


def test_schedules_of_many_datasets_are_looked_at_by_one_question_for_each_page(monkeypatch):
    """One question for each dataset, four times a minute, was most of what a server with 50 datasets had to answer."""
    import prefect.client.orchestration

    server = Scheduling(*(timedelta(days=days) for days in (400, 401, 402)))
    row = SimpleNamespace(schedule=SimpleNamespace(cron="0 3 * * *", timezone="UTC"), active=True)
    server.others = [SimpleNamespace(id=uuid4(), name="x", paused=False, schedules=[row]) for _ in range(250)]
    monkeypatch.setattr(prefect.client.orchestration, "get_client", lambda **options: server)
    assert schedules.plan_anew(("dataprops", "project:ward")) == 3
    assert server.deleted == list(server.planned)[:3]
    assert server.asked == 2
