"""Operation from end to end, on a real Prefect server: new data, alerts that arrive, schedules, the UI, one audit at a time."""

from __future__ import annotations

import itertools
import math
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from prefect.states import Running

from dataprops.audit.composition import STAGES
from dataprops.errors import DatapropsError
from deployments import automations
from deployments.datasets import read_operations
from deployments.deploy import deploy, tags_of
from flows import recovery
from tasks.events import ARRIVED, OPERATING, event, operator_event, send_events
from tests.make_images import noise, random_folder, save
from tests.message_places import Places
from tests.prefect_server import Inbox, PrefectServer, free_port, until

pytestmark = pytest.mark.timeout(
    3600
)  # the first test waits for everything that happens; only a busy machine takes so long
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

SERVED = """
project = "ward"
store = "store"
pool = "ward"
base_url = "http://127.0.0.1:{port}"

[channels.hook]
kind = "webhook"
url = "{inbox}/hook"

[channels.flaky]
kind = "webhook"
url = "{inbox}/flaky"

[channels.slack]
kind = "slack"
url = "{slack}"

[channels.teams]
kind = "teams"
url = "{teams}"

[channels.mail]
kind = "mail"
url = "{mail}"

[datasets.chest]
source = "chest"
size = 12
k = 5
estimators = ["mle"]
draws = 2
probe = false
thresholds = "thresholds.toml"
tell = ["hook", "slack", "teams", "mail"]
watch = "chest"
settle = 1

[datasets.broken]
source = "missing"
size = 12
tell = ["flaky"]
"""

# at first nobody works for this pool: its runs are late
UNSERVED = """
project = "clock"
store = "clock-store"
pool = "nobody"
base_url = "http://127.0.0.1:{port}"

[channels.flaky]
kind = "webhook"
url = "{inbox}/flaky-clock"

[channels.hook]
kind = "webhook"
url = "{inbox}/clock"

[datasets.clock]
source = "clock"
watch = "clock"
settle = 0.5
size = 12
k = 5
estimators = ["mle"]
draws = 2
probe = false
thresholds = "thresholds.toml"
tell = ["flaky"]
late = 0.2
"""


@dataclass(frozen=True)
class Operated:
    """What the tests look at."""

    server: PrefectServer
    inbox: Inbox
    places: Places
    root: Path
    port: int

    def finished(self) -> list[dict]:
        return [run for run in self.server.runs("audit", "chest") if run["state_type"] == "COMPLETED"]

    def served(self) -> str:
        """The file of what is served."""
        return SERVED.format(port=self.port, inbox=self.inbox.url, **self.places.addresses)

    def unserved(self, *, schedule: bool) -> str:
        """The file of what nobody works for at first; with a run each minute, or none."""
        return UNSERVED.format(port=free_port(), inbox=self.inbox.url) + 'schedule = "* * * * *"\n' * schedule


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Where mail, Slack and Teams messages go; each refuses the first try of a message."""
    opened = Places(tmp_path_factory.mktemp("places"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def operated(prefect_server, inbox, places, tmp_path_factory):
    """`dataprops serve` at work, from an empty store to an alert that opened and closed; every step waits for its effect.

    Two audits, and one that fails: each is a process, and takes longer than all else here.
    """
    root = tmp_path_factory.mktemp("operated")
    images = random_folder(root / "chest", {"a": 40, "b": 40})
    save(root / "chest/b/twin.png", images["a/000.png"])
    random_folder(root / "clock", {"a": 20, "b": 20})
    (root / "thresholds.toml").write_text("[enough_images]\nenabled = false\n[duplicates]\nenabled = false\n")
    it = Operated(prefect_server, inbox, places, root, free_port())
    (root / "served.toml").write_text(it.served())
    (root / "unserved.toml").write_text(it.unserved(schedule=True))
    with ExitStack() as staying:
        with prefect_server.client():
            deploy(read_operations(root / "unserved.toml"))
        stays(staying, it, "watch", "unserved.toml")
        stays(staying, it, "serve", "served.toml", environment=places.environment)
        until(lambda: it.server.runs("audit", "chest"), "the files that the watcher found")
        with prefect_server.client():
            send_events([event(ARRIVED, "broken", {"dataset": "broken"})])
        until(lambda: inbox.subjects("/hook"), "the alert")
        until(lambda: not waiting(it), "the end of the audit")
        (root / "chest/b/twin.png").unlink()
        until(lambda: inbox.subjects("/flaky-clock"), "the alert of the late audit")
        silence_is_told(it)
        until(lambda: len(inbox.subjects("/hook")) > 1, "the end of the alert")
        for kind in places.addresses:
            until(lambda kind=kind: len(places.subjects(kind)) > 1, f"the alert and its end by {kind}")
        until(lambda: inbox.subjects("/flaky"), "the alert of the broken audit")
        yield it


def stays(staying: ExitStack, it: Operated, command: str, file: str, **options: Any) -> None:
    """A command at work until all is over."""
    log = it.root / f"{command}-{file}.log"
    staying.enter_context(it.server.running(command, file, cwd=it.root, log=log, **options))


def silence_is_told(it: Operated) -> None:
    """A run of the clock falls silent, and the process that looks after a project: at once and after ten seconds, not minutes.

    The rule is gone when it told: living processes are silent for longer than that.
    """
    operations = read_operations(it.root / "unserved.toml")
    ghost = replace(operations, project="ghost")  # of which no process is there

    def late() -> list[dict]:
        return [r for r in it.server.runs("audit", "clock") if r["state"]["name"] == "Late" and r["auto_scheduled"]]

    # the alert may have come of the watcher's run, before the schedule's first was late
    run = UUID(until(late, "a late run of the schedule")[0]["id"])
    with pytest.MonkeyPatch.context() as patch, it.server.client() as client:
        patch.setattr(automations, "SILENT", timedelta(seconds=10))
        patch.setattr(recovery, "SILENT", timedelta(0))
        patch.setattr(socket, "gethostname", lambda: "mars")
        client.set_flow_run_state(run, Running(), force=True)
        tags = tags_of(operations)
        suspects: recovery.Suspects = {}
        for _ in range(recovery.LOOKS):
            assert recovery.recover(tags, suspects) == 0  # nobody ever heard a sign of life
        assert suspects == {}
        life = event(recovery.HEARTBEAT, "clock", {}) | {"resource": {"prefect.resource.id": f"prefect.flow-run.{run}"}}
        it.server.ask("/events", [life])
        until(lambda: recovery.recover(tags, suspects), "a run that is silent look after look")
        assert client.read_flow_run(run).state.name == "Crashed"
        hook = client.read_block_document_by_name("dataprops-clock--hook", "custom-webhook").id
        rule = automations._silent(ghost, (), [hook])
        made = client.create_automation(rule.model_copy(update={"name": f"quick: {rule.name}"}))
        patience, said = 10.0, -math.inf

        def told_at_last() -> bool:
            # the server takes a moment to follow a new rule: what it missed is said again, after ever longer silence
            nonlocal patience, said
            if time.monotonic() - said > patience:
                patience, said = 2 * patience, time.monotonic()
                it.server.ask("/events", [operator_event(OPERATING, ghost.project)])
            return len(it.inbox.subjects("/flaky-clock")) > 1 and bool(it.inbox.subjects("/clock"))

        until(told_at_last, "the alerts of a dead audit and a dead process")
        client.delete_automation(made)


def waiting(it: Operated) -> list[dict]:
    return [r for r in it.server.runs("audit", "chest") if r["state_type"] in ("SCHEDULED", "PENDING", "RUNNING")]


def test_files_in_the_watched_folder_start_an_audit_with_parameters_from_the_event(operated):
    first, last = operated.finished()[0], operated.finished()[-1]
    assert first["name"] == "chest (81 added)"
    assert first["parameters"]["arrival"]["files"] == 81
    assert first["parameters"]["arrival"]["names"][0] == "a/000.png"
    assert last["name"] == "chest (1 removed)"
    assert last["parameters"]["arrival"]["names"] == ["b/twin.png"]
    assert set(last["tags"]) == {"dataprops", "project:ward", "chest"}


def test_an_alert_is_told_once_when_it_opens_and_once_when_it_closes(operated):
    assert operated.inbox.subjects("/hook") == ["[critical] chest: conflicts", "[closed] chest: conflicts"]
    text = operated.inbox.messages[[m["path"] for m in operated.inbox.messages].index("/hook")]["text"]
    assert "a/000.png, b/twin.png" in text


def test_the_link_in_the_message_leads_to_the_report(operated):
    text = next(message["text"] for message in operated.inbox.messages if message["path"] == "/hook")
    link = next(line for line in text.splitlines() if line.startswith("Report: ")).removeprefix("Report: ")
    with urllib.request.urlopen(link, timeout=120) as page:
        assert b"different labels" in page.read()
    docs = link.replace("report.html", "data_docs/index.html")
    with urllib.request.urlopen(docs, timeout=120) as page:
        assert b"<html" in page.read().lower()
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"http://127.0.0.1:{operated.port}/results/../alerts/chest.json", timeout=120)


def test_alerts_are_events_with_the_dataset_as_their_resource(operated):
    when = {"since": "2000-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z"}
    names = ["audit.alert.opened", "audit.alert.closed"]
    query = {"filter": {"occurred": when, "event": {"name": names}, "resource": {"id": ["dataset.chest"]}}, "limit": 50}
    found = operated.server.ask("/events/filter", query)["events"]
    assert sorted(event["event"] for event in found) == ["audit.alert.closed", "audit.alert.opened"]
    assert {event["payload"]["name"] for event in found} == {"conflicts"}


def test_a_failed_audit_is_an_alert_and_a_channel_that_fails_is_tried_again(operated):
    (run,) = operated.server.runs("audit", "broken")
    assert run["state_type"] == "FAILED"
    assert operated.inbox.refused  # the first try
    (message,) = [message for message in operated.inbox.messages if message["path"] == "/flaky"]
    assert message["subject"] == "[critical] broken: audit_failed"
    assert "missing does not exist" in message["text"]


@pytest.mark.parametrize("kind", ["slack", "teams", "mail"])
def test_each_kind_of_channel_is_tried_again_and_fails_no_audit(operated, kind):
    """Opened and closed: each was refused once, and arrived once."""
    assert operated.places.subjects(kind) == ["[critical] chest: conflicts", "[closed] chest: conflicts"]
    refused = [message.subject for message in operated.places.refused if message.place == kind]
    assert refused == operated.places.subjects(kind)
    assert not [run for run in operated.server.runs("audit", "chest") if run["state_type"] in ("FAILED", "CRASHED")]


def test_a_schedule_creates_runs_and_one_that_nobody_starts_is_told(operated):
    """Told by the process that stays, since nobody delivers; each refused once and told once."""
    subjects = operated.inbox.subjects("/flaky-clock")
    assert subjects == ["[critical] clock: audit_late", "[critical] clock: audit_failed"]
    late, dead = (
        m["text"] for m in operated.inbox.messages if m["path"] == "/flaky-clock" and "critical" in m["subject"]
    )
    assert "did not start within 0.2 minutes: is a worker for pool 'nobody' running?" in late
    assert "heartbeat lost" in dead


def test_the_server_tells_if_the_process_that_tells_all_else_is_gone(operated):
    message = next(message for message in operated.inbox.messages if message["path"] == "/clock")
    assert message["subject"] == "[critical] ghost: the supervising process is down"
    assert "(dataprops.operator.ghost.mars) sent its last heartbeat" in message["text"]


def test_the_run_shows_its_stages_and_artifacts_in_order(operated):
    run = operated.finished()[0]
    tasks = operated.server.ask("/task_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}, "limit": 50})
    names = [task["name"] for task in sorted(tasks, key=lambda task: task["start_time"])]
    assert names == ["scan", "decode", "distances", "measure", "probe", "find", "check", "report"]
    found = operated.server.ask("/artifacts/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
    texts = {artifact["key"]: str(artifact["data"]) for artifact in found}
    assert {"audit-chest", "findings-chest", "properties-chest", "report-chest", "data-docs-chest"} <= set(texts)
    assert f"http://127.0.0.1:{operated.port}/results/chest/" in texts["report-chest"]
    assert "data:image/png;base64" in texts["audit-chest"]


def test_deploying_again_changes_what_changed_and_nothing_else(operated):
    """On the same server, after all that happened."""
    file = operated.root / "again.toml"
    text = (
        operated.served()
        .replace('"ward"', '"again"')
        .replace("datasets.chest", "datasets.one")
        .replace("datasets.broken", "datasets.two")
    )
    file.write_text(text)

    def outcomes(path: Path = file) -> dict[str, str]:
        with operated.server.client():
            return {f"{change.kind} {change.name}": change.outcome for change in deploy(read_operations(path))}

    assert set(outcomes().values()) == {"created"}
    assert set(outcomes().values()) == {"unchanged"}
    changed = (
        file.read_text()
        .replace('tell = ["flaky"]', 'tell = ["flaky"]\nschedule = "0 3 * * *"')
        .replace('/hook"', '/other"')
    )
    file.write_text(changed)
    assert {name: outcome for name, outcome in outcomes().items() if outcome != "unchanged"} == {
        "channel hook": "updated",
        "deployment audit/two": "updated",
    }
    start = changed.index("[datasets.two]")
    file.write_text(changed[:start])
    gone = {name for name, outcome in outcomes().items() if outcome == "removed"}
    assert "deployment audit/two" in gone
    assert "automation dataprops again: new data of two" in gone
    assert not any("one" in name or "ward" in name for name in gone)
    names = {row["name"] for row in operated.server.ask("/deployments/filter", {})}
    assert {"chest", "broken", "clock", "one"} <= names
    assert "two" not in names
    # another file of the same project is refused, or it would remove what is this one's
    shutil.copy(file, operated.root / "other.toml")
    with pytest.raises(DatapropsError, match="project 'again' was deployed from"):
        outcomes(operated.root / "other.toml")
    # and one that would take another project's deployment
    file.write_text(file.read_text().replace("datasets.one", "datasets.chest"))
    with pytest.raises(DatapropsError, match="was not created from project 'again'"):
        outcomes()


def test_notify_names_what_is_deployed(operated):
    refused = operated.server.command("notify", "chst", cwd=operated.root, check=False)
    assert refused.returncode == 2
    assert "no dataset 'chst' is deployed: deployed datasets are " in refused.stderr


@pytest.mark.slow
def test_many_arrivals_during_one_audit_become_one_more(operated):
    """More arrives while an audit runs, and others say so, more often than it is audited."""
    it, before = operated, {run["id"] for run in operated.server.runs("audit", "chest")}
    save(it.root / "chest/a/first.png", noise(np.random.default_rng(7)))
    until(lambda: any(r["state_type"] == "RUNNING" for r in it.server.runs("audit", "chest")), "a running audit")
    save(it.root / "chest/a/second.png", noise(np.random.default_rng(8)))
    for number in range(3):
        it.server.command("notify", "chest", "--reason", f"export {number}", cwd=it.root)
    told = ("export 0", "export 1", "export 2")
    names = [["a/first.png"], ["a/second.png"]]

    def meanwhile() -> list[dict]:
        new = [run for run in it.server.runs("audit", "chest") if run["id"] not in before]
        arrivals = [(run, run["parameters"]["arrival"]) for run in new]
        return [run for run, what in arrivals if what.get("reason") in told or what.get("names") == names[1]]

    until(lambda: len(meanwhile()) == 4, "three exports, and what the watcher saw itself")
    until(lambda: not waiting(it), "the end of all audits")
    states = [run["state_type"] for run in meanwhile()]
    # one more audit; more where the machine is so slow that one began, or ended, before the next was said
    assert states.count("COMPLETED") in (1, 2, 3)
    cancelled = [run for run in meanwhile() if run["state_type"] == "CANCELLED"]
    assert len(cancelled) == 4 - states.count("COMPLETED")
    assert all("is part of run chest" in run["state"]["message"] for run in cancelled)
    # never two at once
    finished = sorted(it.finished(), key=lambda run: run["start_time"])
    assert all(one["end_time"] <= two["start_time"] for one, two in itertools.pairwise(finished))


@pytest.mark.slow
def test_alerts_of_late_and_dead_audits_close_when_somebody_works_for_the_pool(operated):
    """Each is refused once and told once."""
    (operated.root / "unserved.toml").write_text(operated.unserved(schedule=False))
    with ExitStack() as staying:
        stays(staying, operated, "serve", "unserved.toml")
        until(lambda: len(operated.inbox.subjects("/flaky-clock")) > 3, "the end of the alerts")
    closed = operated.inbox.subjects("/flaky-clock")[2:]
    assert sorted(closed) == ["[closed] clock: audit_failed", "[closed] clock: audit_late"]


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (apt-get install chromium)")
def test_the_page_of_the_run_shows_its_artifacts_in_a_browser(operated, tmp_path):
    run = operated.finished()[0]
    found = operated.server.ask("/artifacts/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
    summary = next(artifact["id"] for artifact in found if artifact["key"] == "audit-chest")
    origin = operated.server.url.removesuffix("/api")
    # the scripts of a page have so much of a virtual clock: on a busy machine it is asked for again
    shown(
        f"{origin}/runs/flow-run/{run['id']}", ("chest (81 added)", "Completed", f"{len(STAGES)} Task runs"), tmp_path
    )
    shown(f"{origin}/v2/runs/flow-run/{run['id']}?tab=Artifacts", ("report-chest", "audit-chest"), tmp_path)
    shown(f"{origin}/artifacts/artifact/{summary}", ("Sharpest pairs", "Open the report"), tmp_path)


def shown(url: str, texts: tuple[str, ...], folder: Path) -> None:
    """Wait until the page shows all these texts."""

    def complete() -> bool:
        page = rendered(url, folder)
        return all(text in page for text in texts)

    until(complete, f"{texts} at {url}")


def rendered(url: str, folder: Path) -> str:
    """The page as a browser has it after its scripts ran."""
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += [f"--user-data-dir={folder}", "--virtual-time-budget=15000", "--dump-dom", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=True).stdout
