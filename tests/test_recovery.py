"""Runs whose process died: told apart from those whose server was away, or whose clock is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest

from deployments import operate
from flows import recovery
from tasks.pages import PAGE

TAGS = ("dataprops", "project:ward")
HOUR = timedelta(hours=1)


class Server:
    """Runs, and the last sign of life of each; `crashed` are those that were marked, `scheduled` those that run again."""

    def __init__(self) -> None:
        self.runs: list = []
        self.scheduled: list[UUID] = []
        self.signs: dict[str, list[str]] = {}
        self.crashed: list[UUID] = []

    def add(
        self,
        began: timedelta,
        sign: timedelta | None = None,
        state: str = "RUNNING",
        deployment: str = "d",
        message: str | None = None,
    ) -> UUID:
        """A run; when it began and said something, as time ago."""
        run = SimpleNamespace(id=uuid4(), name="chest", deployment_id=deployment)
        run.state = SimpleNamespace(timestamp=datetime.now(UTC) - began, type=state, message=message)
        self.runs.append(run)
        if sign is not None:
            self.say(run.id, sign)
        return run.id

    def say(self, run: UUID, ago: timedelta) -> None:
        """The run says that it lives."""
        when = (datetime.now(UTC) - ago).isoformat()
        for resource in (f"prefect.flow-run.{run}", "prefect.deployment.d"):
            self.signs.setdefault(resource, []).append(when)

    def newest(self, name: str, resource: str = "", related: str = "", until: str = "9") -> str | None:
        """The newest sign until a moment."""
        return max((sign for sign in self.signs.get(resource or related, []) if sign <= until), default=None)

    # a Prefect client, as far as it is asked here

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def read_flow_runs(self, flow_run_filter: Any, sort: Any, limit: int = PAGE, offset: int = 0) -> list:
        assert sort.value == "EXPECTED_START_TIME_DESC"
        assert flow_run_filter.tags.all_ == list(TAGS)
        (state,) = flow_run_filter.state.type.any_
        over = {*self.crashed, *self.scheduled}
        found = [run for run in self.runs if run.id not in over and run.state.type == state.value]
        return found[offset : offset + limit]

    def set_flow_run_state(self, run: UUID, state: Any, force: bool = False) -> None:
        if state.is_scheduled():
            assert force  # it is final
            self.scheduled.append(run)
        else:
            self.crashed.append(run)


@pytest.fixture
def server(monkeypatch):
    import prefect.client.orchestration

    it = Server()
    monkeypatch.setattr(prefect.client.orchestration, "get_client", lambda **options: it)
    monkeypatch.setattr(recovery, "hand_back", lambda run, why: it.scheduled.append(run))
    monkeypatch.setattr(recovery, "newest_event", it.newest)
    return it


def looks(count: int, suspects: recovery.Suspects | None = None) -> int:
    suspects = {} if suspects is None else suspects
    return sum(recovery.recover(TAGS, suspects) for _ in range(count))


def test_a_run_that_stays_silent_is_marked_once(server):
    run = server.add(HOUR, sign=HOUR)
    suspects: recovery.Suspects = {}
    assert looks(recovery.LOOKS - 1, suspects) == 0
    assert list(suspects) == [run]
    assert looks(1, suspects) == 1
    assert server.crashed == [run]
    assert suspects == {}
    assert looks(9, suspects) == 0


def test_runs_beyond_the_first_page_are_looked_at(server):
    silent = [server.add(HOUR, sign=HOUR, deployment=str(number)) for number in range(PAGE + 1)]
    assert looks(recovery.LOOKS) == PAGE + 1
    assert server.crashed == silent


def test_who_spoke_lately_or_began_lately_lives(server):
    server.add(HOUR, sign=timedelta(minutes=4))
    server.add(timedelta(minutes=4), sign=HOUR)  # it runs again: its last sign is of before
    suspects: recovery.Suspects = {}
    assert looks(9, suspects) == 0
    assert suspects == {}


@pytest.mark.parametrize("ago", [timedelta(0), HOUR], ids=["the server was away", "its clock is an hour late"])
def test_who_speaks_between_two_looks_lives(server, ago):
    run = server.add(2 * HOUR, sign=2 * HOUR)
    suspects: recovery.Suspects = {}
    for _ in range(5):
        assert looks(recovery.LOOKS - 1, suspects) == 0
        server.say(run, ago)
    assert server.crashed == []


def test_a_clock_that_was_set_back_hides_no_dead_run_and_kills_no_living_one(server):
    """What was said before lies ahead of the clock."""
    dead = server.add(-HOUR, sign=-2 * HOUR)
    suspects: recovery.Suspects = {}
    assert looks(recovery.LOOKS, suspects) == 1
    assert server.crashed == [dead]
    living = server.add(-HOUR, sign=-2 * HOUR)
    for _ in range(5):
        assert looks(recovery.LOOKS - 1, suspects) == 0
        server.say(living, timedelta(0))
    ahead = server.add(-HOUR, sign=-2 * HOUR, deployment="e")  # its own clock is wrong
    for number in range(5):
        assert looks(recovery.LOOKS - 1, suspects) == 0
        server.say(living, timedelta(0))
        server.say(ahead, -2 * HOUR - timedelta(seconds=30 * (number + 1)))
    assert server.crashed == [dead]


def test_without_any_sign_of_its_deployment_a_run_is_left_alone(server):
    run = server.add(HOUR)
    assert looks(9) == 0
    server.signs["prefect.deployment.d"] = ["2026-01-01T00:00:00+00:00"]  # another run spoke: signs do come through
    assert looks(9) == 1
    assert server.crashed == [run]


def test_a_run_that_no_worker_started_runs_again(server):
    run = server.add(HOUR, state="PENDING")
    server.add(timedelta(minutes=4), state="PENDING", deployment="other")
    suspects: recovery.Suspects = {}
    assert looks(recovery.LOOKS - 1, suspects) == 0  # the clock may have jumped, and the worker be at it
    assert looks(1, suspects) == 1
    assert server.scheduled == [run]
    assert suspects == {}


NOT_TAKEN = "Failed to submit flow run to infrastructure: "


@pytest.mark.parametrize(
    "error",
    [
        "PrefectHTTPStatusError: Server error '503 Service Unavailable' for url 'http://127.0.0.1:4200/api/flow_runs/1/labels'",
        "ReadTimeout: ",
        "ConnectError: All connection attempts failed",
    ],
)
def test_a_run_that_crashed_at_submission_for_want_of_the_server_runs_again(error, server):
    """A server whose database was locked answered 503 for longer than Prefect's client tries, and `deliver` runs crashed."""
    run = server.add(timedelta(minutes=2), state="CRASHED", message=NOT_TAKEN + error)
    assert looks(1) == 1
    assert server.scheduled == [run]
    assert looks(9) == 0
    again = server.add(timedelta(minutes=1), state="CRASHED", message=NOT_TAKEN + error)  # and it was away again
    assert looks(1) == 1
    assert server.scheduled == [run, again]


def test_a_run_that_would_crash_again_or_did_long_ago_is_left_crashed(server):
    busy = NOT_TAKEN + "PrefectHTTPStatusError: Server error '503 Service Unavailable'"
    server.add(timedelta(minutes=2), state="CRASHED", message=NOT_TAKEN + "FileNotFoundError: no such command: prefect")
    server.add(
        timedelta(minutes=2), state="CRASHED", message="Flow run infrastructure exited with non-zero status code"
    )
    server.add(timedelta(minutes=2), state="CRASHED")
    server.add(2 * HOUR, state="CRASHED", message=busy)
    server.add(-2 * HOUR, state="CRASHED", message=busy)
    assert looks(9) == 0
    assert server.scheduled == []


def test_a_lost_run_waits_while_another_of_its_deployment_is_under_way(server):
    """Its place was given on, and would be freed a second time."""
    dead, unstarted = server.add(HOUR, sign=HOUR), server.add(HOUR, state="PENDING")
    server.add(HOUR, sign=timedelta(0))
    server.signs["prefect.deployment.e"] = server.signs["prefect.deployment.d"]
    other = server.add(HOUR, deployment="e")
    suspects: recovery.Suspects = {}
    assert looks(9, suspects) == 1
    assert server.crashed == [other]
    server.runs.pop(2)  # it finished; the two lost ones do not wait for each other
    assert looks(1, suspects) == 2
    assert server.crashed == [other, dead]
    assert server.scheduled == [unstarted]


def test_a_look_from_cron_waits_until_it_is_sure(server, monkeypatch):
    waits: list[float] = []

    def looked(operations, tried, suspects):
        recovery.recover(TAGS, suspects)

    monkeypatch.setattr(operate, "look_after", looked)
    monkeypatch.setattr(operate.time, "sleep", waits.append)
    server.add(HOUR, sign=timedelta(0), deployment="e")
    operate.look_after_once(None)  # type: ignore[arg-type]
    assert waits == []
    run = server.add(HOUR, sign=HOUR)
    operate.look_after_once(None)  # type: ignore[arg-type]
    assert server.crashed == [run]
    assert waits == [operate.LOOK_SECONDS] * (recovery.LOOKS - 1)
