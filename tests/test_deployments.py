"""The pieces of operation, each by itself: the file of datasets, alerts that are told once, the watcher, the file server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataprops.checks import open_alerts
from dataprops.errors import DatapropsError
from dataprops.store.folder import locked, open_store
from deployments import watcher as watcher_module
from deployments.datasets import read_operations
from deployments.deploy import RUN_ENVIRONMENT
from deployments.server import application, hosts_for
from deployments.watcher import Watcher, difference
from flows import notifications
from flows.operation import Operation, trigger_of
from tests.make_images import random_folder
from tests.prefect_server import until

GOOD = """
store = "audits"

[channels.ward]
kind = "webhook"
url = "http://127.0.0.1:9/hook"

[datasets.chest]
source = "chest"
size = 64
schedule = "0 3 * * *"
timezone = "Europe/Berlin"
tell = ["ward"]
watch = "chest"

[datasets.digits]
source = "digits:"
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "datasets.toml"
    path.write_text(text)
    return path


def test_a_good_file_is_read_with_paths_relative_to_it(tmp_path):
    operations = read_operations(written(tmp_path, GOOD))
    chest, digits = operations.datasets
    assert operations.project == "datasets"
    assert operations.store == tmp_path / "audits"
    assert chest.options == {
        "source": str(tmp_path / "chest"),
        "size": 64,
        "name": "chest",
        "store": str(tmp_path / "audits"),
    }
    assert (chest.watch, chest.tell, chest.level) == (str(tmp_path / "chest"), ("ward",), "warning")
    assert digits.options["source"] == "digits:"


def assert_refused(path: Path, line: str, says: str) -> None:
    """The file is refused, with this line ("line 7") and these words."""
    with pytest.raises(DatapropsError) as error:
        read_operations(path)
    assert f"{path}, {line}" in str(error.value)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ('source = "digits:"', "source = ", 17, "not valid TOML"),
        ("size = 64", "size = 0", 10, "size must be between 1 and 4096, got 0"),
        ("size = 64", "sise = 64", 10, "unknown key 'sise': did you mean size?"),
        ("size = 64", 'size = "64"', 10, "size must be a whole number, got '64'"),
        ('"0 3 * * *"', '"at night"', 11, "schedule must be a cron expression"),
        ('"0 3 * * *"', '"0 3 30 2 *"', 11, "schedule must be a cron expression whose date exists"),
        ("Europe/Berlin", "Europe/Berln", 12, "must be a time zone"),
        ('tell = ["ward"]', 'tell = ["wrd"]', 13, "no channel is named 'wrd': channels are ward"),
        ('tell = ["ward"]', 'tell = "ward"', 13, "tell must be a list of strings"),
        ('kind = "webhook"', 'kind = "webhok"', 5, "did you mean webhook?"),
        ('url = "http://127.0.0.1:9/hook"', "", 4, "needs 'url'"),
        ('url = "http://127.0.0.1:9/hook"', 'url = "ward"', 6, "url must be a URL"),
        ('url = "http://127.0.0.1:9/hook"', 'url = "env:NO_SUCH_NAME"', 6, "NO_SUCH_NAME is not set"),
        (
            '"webhook"\nurl = "http://127.0.0.1:9/hook"',
            '"slack"\nurl = "https://example.org/x"',
            6,
            "a Slack webhook URL",
        ),
        (
            '"webhook"\nurl = "http://127.0.0.1:9/hook"',
            '"teams"\nurl = "https://example.org/x"',
            6,
            "a Teams workflow URL",
        ),
        ("[datasets.chest]", '[datasets."a b"]', 8, "may contain only letters"),
        ("[channels.ward]", "[channels.Ward]", 4, "may contain only lower-case letters"),
        ('source = "digits:"', "", 16, "has no source"),
        ('store = "audits"', "stor = 1", 2, "did you mean store?"),
        ("size = 64", 'thresholds = "none.toml"', 10, "none.toml cannot be read"),
        ("size = 64", "late = 0.01", 10, "at least 10 seconds"),
        ('watch = "chest"', "watch = true", 14, "watch must be a string, got True"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(tmp_path, old, new, line, says):
    assert_refused(written(tmp_path, GOOD.replace(old, new, 1)), f"line {line}", says)


def test_a_wrong_mail_address_is_refused_and_a_good_one_is_not(tmp_path):
    mail = GOOD.replace('kind = "webhook"', 'kind = "mail"')
    wrong = mail.replace("http://127.0.0.1:9/hook", "mailto://me:secret@127.0.0.1:2525?to=w@example.org")
    with pytest.raises(DatapropsError, match="line 6: url must be an Apprise mail URL"):
        read_operations(written(tmp_path, wrong))
    right = mail.replace(
        "http://127.0.0.1:9/hook", "mailtos://me:secret@example.org?smtp=mail.example.org&to=w@example.org"
    )
    assert read_operations(written(tmp_path, right)).channels[0].kind == "mail"


# ---- alerts -----------------------------------------------------------------------------------------------------


def alert(name: str, severity: str = "critical", value: float = 1.0) -> dict:
    return {"name": name, "severity": severity, "sentence": f"{name} is wrong", "value": value, "paths": []}


def test_an_alert_is_news_when_it_opens_and_when_it_closes_and_not_in_between(tmp_path):
    def audit(run: str, *alerts: dict) -> list[tuple[str, str]]:
        fresh = open_alerts.settle(tmp_path, "chest", alerts, run, "2026-01-01T00:00:00+00:00")
        open_alerts.forget(tmp_path, "chest", [item["id"] for item in fresh])
        return [(item["event"].rpartition(".")[2], item["name"]) for item in fresh]

    assert audit("r1", alert("conflicts"), alert("leaks", "warning")) == [("opened", "conflicts"), ("opened", "leaks")]
    assert audit("r2", alert("conflicts", value=2.0), alert("leaks", "warning")) == []
    assert audit("r3", alert("conflicts"), alert("leaks", "critical")) == [("opened", "leaks")]  # it became worse
    assert audit("r4", alert("leaks", "warning")) == [("closed", "conflicts")]
    assert audit("r5") == [("closed", "leaks")]
    assert audit("r6") == []
    assert open_alerts.load_state(tmp_path, "chest")["open"] == {}


def test_news_survives_a_crash_before_it_is_sent_and_keeps_its_id(tmp_path):
    first = open_alerts.settle(tmp_path, "chest", [alert("conflicts")], "r1", "t")
    again = open_alerts.settle(tmp_path, "chest", [alert("conflicts")], "r2", "t")  # nothing was sent in between
    assert [item["id"] for item in again] == [item["id"] for item in first]
    closed = open_alerts.settle(tmp_path, "chest", [], "r3", "t")
    assert [item["event"] for item in closed] == [open_alerts.OPENED, open_alerts.CLOSED]


def test_a_failed_audit_is_one_alert_until_one_succeeds(tmp_path):
    assert len(open_alerts.record_failure(tmp_path, "chest", "the disk is full", "run-1", "t")) == 1
    assert len(open_alerts.record_failure(tmp_path, "chest", "the disk is full", "run-2", "t")) == 1
    waiting = open_alerts.settle(tmp_path, "chest", [], "r3", "t")
    assert [(item["event"], item["name"]) for item in waiting] == [
        (open_alerts.OPENED, "audit_failed"),
        (open_alerts.CLOSED, "audit_failed"),
    ]


def test_numbers_that_json_does_not_know_become_null(tmp_path):
    open_alerts.settle(tmp_path, "chest", [alert("structure", value=float("nan"))], "r1", "t")
    state = json.loads(open_alerts.state_path(tmp_path, "chest").read_text())
    assert state["outbox"][0]["value"] is None


def test_a_damaged_state_is_named_and_not_started_anew(tmp_path):
    path = open_alerts.state_path(tmp_path, "chest")
    path.parent.mkdir()
    path.write_text("{")
    with pytest.raises(DatapropsError, match=r"chest\.json is damaged"):
        open_alerts.settle(tmp_path, "chest", [alert("conflicts")], "r1", "t")


severities = st.sampled_from(["info", "warning", "critical"])
audits = st.lists(st.dictionaries(st.sampled_from("abc"), severities), max_size=8)


@given(audits)
def test_whoever_follows_the_news_knows_what_is_open(sequence):
    """Any sequence of audits: opened minus closed is what the last one found, and nothing opens twice at one severity."""
    state, told = open_alerts.empty_state(), {}
    for number, found in enumerate(sequence):
        alerts = [alert(name, severity) for name, severity in found.items()]
        state = open_alerts.settled({**state, "outbox": []}, "chest", alerts, f"r{number}", "t")
        for item in state["outbox"]:
            if item["event"] == open_alerts.OPENED:
                assert told.get(item["name"]) != item["severity"]
                told[item["name"]] = item["severity"]
            else:
                del told[item["name"]]
        assert set(told) == set(found)
        assert len({item["id"] for item in state["outbox"]}) == len(state["outbox"])


def test_old_receipts_go_and_those_of_news_that_waits_stay(tmp_path):
    (item,) = open_alerts.settle(tmp_path, "chest", [alert("conflicts")], "r1", "t")
    other = "00000000-0000-0000-0000-000000000001"
    for news_id in (item["id"], other):
        open_alerts.write_receipt(tmp_path, "chest", news_id, "ward", "t")
        path = open_alerts.receipts_folder(tmp_path, "chest") / f"{news_id}.json"
        os.utime(path, (0, 0))
    with open_alerts.sending(tmp_path, "chest"):
        pass
    assert open_alerts.receipts(tmp_path, "chest", item["id"])
    assert not open_alerts.receipts(tmp_path, "chest", other)


def test_a_run_imports_our_packages_in_a_project_that_has_its_own(tmp_path):
    for package in ("flows", "tasks"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise RuntimeError('not ours')\n")
    root = str(Path(__file__).parents[1])
    code = f"import sys; sys.path.append({root!r}); import flows, tasks; print(flows.__file__, tasks.__file__)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | RUN_ENVIRONMENT
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [f"{root}/flows/__init__.py", f"{root}/tasks/__init__.py"], done.stderr


def test_a_run_says_why_it_runs():
    assert trigger_of({"reason": "by hand"}, None, True) == "schedule"
    assert trigger_of({}, None, False) == "by hand"
    assert trigger_of({}, {"added": 1200, "changed": 0, "removed": 2}, False) == "1,200 added, 2 removed"


def test_lost_news_goes_out_again_and_what_arrived_is_forgotten(tmp_path, monkeypatch):
    known, sent = set(), []
    monkeypatch.setattr(notifications, "known_events", lambda ids: known & set(ids))
    monkeypatch.setattr(notifications, "send_events", lambda events: sent.extend(event["id"] for event in events))
    how = Operation("warning", {"ward": "custom-webhook/x"})
    (item,) = open_alerts.settle(tmp_path, "chest", [alert("conflicts")], "r1", "2020-01-01T00:00:00+00:00")
    assert notifications.sweep(tmp_path, "chest", how) == 1  # the server never heard of it
    assert sent == [item["id"]]
    known.add(item["id"])
    assert notifications.sweep(tmp_path, "chest", how) == 1  # it did, and the channel has nothing yet
    assert sent == [item["id"]]
    open_alerts.write_receipt(tmp_path, "chest", item["id"], "ward", "t")
    notifications.sweep(tmp_path, "chest", how)
    assert notifications.sweep(tmp_path, "chest", how) == 0
    assert len(sent) == 1
    # an audit tells its own news, and does not repeat what is on its way
    summary = {"dataset": "chest", "alerts": [alert("conflicts"), alert("leaks")], "run_id": "r2"}
    assert [news["name"] for news in notifications.tell(tmp_path, summary, how)] == ["leaks"]
    notifications.tell(tmp_path, summary | {"run_id": "r3"}, how)
    assert len(sent) == 2


# ---- audits that are late or died ---------------------------------------------------------------------------------


class Runs:
    """Runs as a Prefect server would list them, on one day in 2026."""

    def __init__(self) -> None:
        self.listed: list = []
        self.sent: list = []

    def add(self, name: str, state: str, hour: int, started: bool = True, said: str | None = None) -> None:
        when = datetime(2026, 1, 1, hour, tzinfo=UTC)
        scheduled = state == "Late"
        kept = SimpleNamespace(name=state, message=said, timestamp=when, is_scheduled=lambda: scheduled)
        self.listed.insert(
            0,
            SimpleNamespace(
                id=name,
                name=name,
                state=kept,
                start_time=when if started and not scheduled else None,
                expected_start_time=when,
                work_pool_name="ward",
            ),
        )


@pytest.fixture
def server_runs(monkeypatch):
    """What `notice` sees; `sent` are the events that it sends."""
    runs = Runs()
    monkeypatch.setattr(notifications, "_troubled_runs", lambda dataset: list(runs.listed))
    monkeypatch.setattr(notifications, "send_events", runs.sent.extend)
    return runs


def opened_by_notice(store: Path, late: float = 15.0) -> list[str]:
    return [item["name"] for item in notifications.notice(store, "chest", late, Operation())]


def at(hour: int) -> str:
    return datetime(2026, 1, 1, hour, tzinfo=UTC).isoformat()


def test_a_late_and_a_dead_audit_open_one_alert_each_and_the_next_that_finishes_closes_both(tmp_path, server_runs):
    server_runs.add("r1", "Late", 3)
    server_runs.add("r2", "Crashed", 4, said="heartbeat lost")
    assert sorted(opened_by_notice(tmp_path)) == ["audit_failed", "audit_late"]
    sentences = {event["payload"]["name"]: event["payload"]["sentence"] for event in server_runs.sent}
    assert sentences["audit_failed"] == "The audit of chest did not finish: heartbeat lost"
    assert "due at 2026-01-01 03:00 UTC did not start within 15 minutes" in sentences["audit_late"]
    assert all(event["payload"]["report"] is None for event in server_runs.sent)
    server_runs.add("r3", "Late", 5)
    assert opened_by_notice(tmp_path) == []  # told already
    closed = open_alerts.settle(tmp_path, "chest", [], "r4", at(6))[2:]
    assert {(item["event"], item["name"]) for item in closed} == {
        (open_alerts.CLOSED, "audit_failed"),
        (open_alerts.CLOSED, "audit_late"),
    }
    assert opened_by_notice(tmp_path) == []  # runs of before that audit say nothing any more
    server_runs.add("r5", "Failed", 7, said="the disk is full")
    assert opened_by_notice(tmp_path) == ["audit_failed"]


def test_a_run_that_is_not_late_for_long_is_not_told(tmp_path, server_runs):
    server_runs.add("r1", "Late", 3)
    years = 60 * 24 * 365 * 200.0
    assert opened_by_notice(tmp_path, years) == []
    assert opened_by_notice(tmp_path) == ["audit_late"]


def test_a_run_that_a_stopped_worker_hands_back_is_not_told(tmp_path, server_runs):
    server_runs.add("r1", "Crashed", 4, said="Execution was aborted by a termination signal.")
    server_runs.listed[0].state.timestamp = datetime.now(UTC)
    assert opened_by_notice(tmp_path) == []
    server_runs.listed[0].state.timestamp -= notifications.HANDED_BACK
    assert opened_by_notice(tmp_path) == ["audit_failed"]


def test_a_store_of_before_does_not_tell_of_failures_that_an_audit_made_good(tmp_path, server_runs):
    """Its state does not say when an audit was settled; its results do."""
    run = tmp_path / "results/chest/20260101T050000Z-abcd"
    run.mkdir(parents=True)
    (run / "summary.json").write_text("{}")
    server_runs.add("r1", "Failed", 4)
    server_runs.add("r2", "Crashed", 4, started=False)
    assert opened_by_notice(tmp_path) == []
    server_runs.add("r3", "Crashed", 6, started=False)
    assert opened_by_notice(tmp_path) == ["audit_failed"]


def test_a_run_that_told_its_failure_itself_is_told_once(tmp_path, server_runs):
    open_alerts.record_failure(tmp_path, "chest", "the disk is full", "r1", at(4))
    server_runs.add("r1", "Failed", 4, said="the disk is full")
    assert opened_by_notice(tmp_path) == []


def test_looking_after_goes_on_when_a_part_of_it_fails(tmp_path, monkeypatch, caplog):
    from deployments import operate

    did = []

    def broken(*arguments):
        raise OSError("the server restarts")

    monkeypatch.setattr(operate, "notice", broken)
    monkeypatch.setattr(notifications, "sweep", broken)
    monkeypatch.setattr(notifications, "send_waiting", lambda store, dataset, *how: did.append(dataset))
    monkeypatch.setattr(operate, "recover", broken)
    monkeypatch.setattr(operate, "plan_anew", broken)
    operate.look_after(read_operations(written(tmp_path, GOOD)), {}, {})
    assert did == ["chest", "digits"]
    assert "the check for lost runs failed: the server restarts" in caplog.text
    assert "the check of schedules failed: the server restarts" in caplog.text
    assert "the check for late audits of chest failed: the server restarts" in caplog.text


# ---- the watcher ------------------------------------------------------------------------------------------------


def watcher(root: Path, place: Path | str, events: list, **options) -> Watcher:
    more = "".join(f"{name} = {value}\n" for name, value in {"settle": 0.2, "poll": 0.2, **options}.items())
    text = f'store = "store"\n[datasets.chest]\nsource = "digits:"\nwatch = "{place}"\n{more}'
    operations = read_operations(written(root, text))
    open_store(operations.store)
    return Watcher(operations.datasets[0], operations.store, lambda told: events.extend(told))


def test_one_event_for_one_batch_and_none_for_the_same_state_after_a_restart(tmp_path):
    random_folder(tmp_path / "chest", {"a": 3, "b": 2})
    (tmp_path / "chest/a/.hidden").write_text("no image")
    events = []
    watcher(tmp_path, tmp_path / "chest", events).once()
    watcher(tmp_path, tmp_path / "chest", events).once()
    assert [event["payload"]["added"] for event in events] == [5]
    (tmp_path / "chest/a/000.png").unlink()
    shutil.copy(tmp_path / "chest/a/001.png", tmp_path / "chest/b/new.png")
    (tmp_path / "chest/a/002.png").write_bytes(b"something else")
    watcher(tmp_path, tmp_path / "chest", events).once()  # while it was down
    last = events[-1]["payload"]
    assert (last["added"], last["changed"], last["removed"], last["files"]) == (1, 1, 1, 5)
    assert last["names"] == ["b/new.png", "a/002.png", "a/000.png"]
    assert events[-1]["resource"]["prefect.resource.id"] == "dataset.chest"


def test_an_event_that_was_not_taken_is_sent_again_with_its_id(tmp_path):
    random_folder(tmp_path / "chest", {"a": 2})
    tried = []
    watching = watcher(tmp_path, tmp_path / "chest", [])

    def fails(told):
        tried.extend(told)
        raise OSError("the server is away")

    watching.send = fails
    for _ in range(2):
        with pytest.raises(OSError, match="away"):
            watching.once()
    assert tried[0]["id"] == tried[1]["id"]
    watching.send = tried.extend
    watching.once()
    assert [event["id"] for event in tried] == [tried[0]["id"]] * 3
    watching.once()
    assert len(tried) == 3


class Clock:
    """Stands for `threading.Event` and the clock: waiting takes no time, and lets somebody do something at each wait."""

    def __init__(self, watching: Watcher, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object]):
        self.now, self.meanwhile = 1000.0, meanwhile
        watching.stop = self  # type: ignore[assignment]
        monkeypatch.setattr(watcher_module.time, "monotonic", lambda: self.now)

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        self.meanwhile()
        return False

    def is_set(self) -> bool:
        return False


def test_a_copy_that_is_not_finished_is_waited_for(tmp_path, monkeypatch):
    """A writer that keeps writing: the event comes after its last byte, and tells of it once."""
    place = tmp_path / "chest"
    random_folder(place, {"a": 1})
    events: list = []
    watching = watcher(tmp_path, place, events, settle=1.0)
    numbers = iter(range(12))

    def write() -> None:
        if (number := next(numbers, None)) is not None:
            with (place / "slow.png").open("ab") as file:
                file.write(bytes(100))
            (place / f"{number}.png").write_bytes(b"x")

    clock = Clock(watching, monkeypatch, write)
    watching.once()
    assert next(numbers, None) is None
    assert [event["payload"]["added"] for event in events] == [14]
    assert clock.now >= 1000 + 12 * 0.25 + 1.0


def test_a_folder_that_is_never_quiet_is_told_about_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(watcher_module, "LONGEST", 3.0)
    place = tmp_path / "chest"
    random_folder(place, {"a": 2})
    events: list = []
    watching = watcher(tmp_path, place, events, settle=0.4)

    def write() -> None:
        with (place / "busy.png").open("ab") as file:
            file.write(b"x")

    write()
    Clock(watching, monkeypatch, write)
    watching.once()
    assert [event["payload"]["added"] for event in events] == [2]  # not the busy one
    Clock(watching, monkeypatch, lambda: None)
    watching.once()
    assert events[-1]["payload"]["names"] == ["busy.png"]


def test_an_arrival_that_no_audit_followed_is_said_again_and_one_that_was_audited_is_not(tmp_path):
    random_folder(tmp_path / "chest", {"a": 2})
    events: list = []
    watching = watcher(tmp_path, tmp_path / "chest", events, again=60)
    watching.once()
    watching.once()
    assert len(events) == 1
    long_ago = time.time() - 3600
    os.utime(watching.path, (long_ago, long_ago))
    with locked(tmp_path / "store", "chest"):  # an audit that takes longer than that
        watching.once()
    assert len(events) == 1
    watching.once()
    assert [event["payload"].get("reason") for event in events] == [None, "said again"]
    os.utime(watching.path, (long_ago, long_ago))
    run = tmp_path / "store/results/chest/20990101T000000Z-abcd"
    run.mkdir(parents=True)
    (run / "summary.json").write_text("{}")
    watching.once()
    assert len(events) == 2


def test_a_remote_prefix_is_polled(tmp_path):
    import fsspec

    system = fsspec.filesystem("memory")
    system.pipe({"/bucket/set/a/1.png": b"one", "/bucket/set/b/2.png": b"two", "/bucket/other.png": b"no"})
    events: list = []
    watching = watcher(tmp_path, "memory://bucket/set", events)
    try:
        watching.once()
        assert (events[-1]["payload"]["added"], events[-1]["payload"]["names"]) == (2, ["a/1.png", "b/2.png"])
        system.pipe({"/bucket/set/a/1.png": b"uno"})  # the same size
        watching.once()
        assert (events[-1]["payload"]["changed"], len(events)) == (1, 2)
    finally:
        system.rm("/bucket", recursive=True)


def test_a_watcher_that_runs_notices_files_by_itself_and_survives_what_fails(tmp_path, caplog):
    place = tmp_path / "chest"
    events: list = []
    watching = watcher(tmp_path, place, events)
    thread = threading.Thread(target=watching.run)
    thread.start()  # the folder is not there yet: a share that is away
    try:
        until(lambda: "cannot be listed" in caplog.text, "a look in vain")
        random_folder(place, {"a": 2})
        until(lambda: events, "the event")
        assert [event["payload"]["added"] for event in events] == [2]
    finally:
        watching.stop.set()
        thread.join(300)
    assert not thread.is_alive()


names = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=3)
listings = st.dictionaries(names, st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=6)


@given(listings, listings)
def test_a_difference_leads_from_one_listing_to_the_other(before, now):
    what = difference(before, now)
    rebuilt = {path: state for path, state in before.items() if path not in what.removed}
    rebuilt |= {path: now[path] for path in (*what.added, *what.changed)}
    assert rebuilt == now
    assert bool(what) == (before != now)


# ---- the server of results --------------------------------------------------------------------------------------


@pytest.fixture
def browser(tmp_path):
    from starlette.testclient import TestClient

    run = tmp_path / "results/chest/20260101T000000Z-abcd"
    run.mkdir(parents=True)
    (run / "report.html").write_text("<html>the report</html>")
    (run / "summary.json").write_text("{}")
    (run / ".summary.json.1.part").write_text("half")
    (run / "out").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "alerts").mkdir()
    return TestClient(application(tmp_path, hosts_for("http://audits.example.org:80", "127.0.0.1")), "http://localhost")


def test_results_are_served_read_only(browser):
    path = "/results/chest/20260101T000000Z-abcd/report.html"
    assert browser.get(path).text == "<html>the report</html>"
    assert f'href="{path}"' in browser.get("/").text
    assert browser.get(path, headers={"Host": "audits.example.org"}).status_code == 200
    for method in ("post", "put", "delete"):
        assert getattr(browser, method)(path).status_code == 405


@pytest.mark.parametrize(
    "path",
    [
        "/results/../secret.txt",
        "/results/%2e%2e/secret.txt",
        "/results/chest/..%2f..%2fsecret.txt",
        "/results/chest/20260101T000000Z-abcd/out",
        "/results/chest/20260101T000000Z-abcd/.summary.json.1.part",
        "/results/chest/",
        "/results/",
        "/secret.txt",
        "/results//etc/passwd",
    ],
)
def test_nothing_else_is_served(browser, path):
    answer = browser.get(path)
    assert answer.status_code == 404
    assert "secret" not in answer.text


def test_a_page_of_another_name_gets_nothing(browser):
    assert browser.get("/", headers={"Host": "evil.example.com"}).status_code == 400


def test_operation_travels_as_plain_values():
    from dataclasses import asdict

    from flows.operation import operation_of

    operation = Operation("critical", {"ward": "custom-webhook/x"}, "http://127.0.0.1:4280")
    assert operation_of(json.loads(json.dumps({**asdict(operation), "of a later version": 1}))) == operation
    assert operation_of(None) is None
