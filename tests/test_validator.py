"""Great Expectations in a process of its own: the same verdicts, and nothing left behind."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from dataprops.audit import background, kernels
from dataprops.checks import validator
from dataprops.checks.expectations import run_checks
from dataprops.util import helper
from dataprops.util.version import state_of
from flows.cli import main
from tests.prefect_server import ROOT, until
from tests.test_checks import CHECKS, images, outcome, properties

MEASURES = {"conflict_pairs": 3.0, "n_images": 500.0}


@pytest.fixture
def apart(monkeypatch):
    """As in a process that has not imported Great Expectations."""
    monkeypatch.delitem(sys.modules, "great_expectations", raising=False)
    monkeypatch.setattr(helper, "_child", None)
    yield
    child = helper._child
    helper.stop()
    assert child is None or child.process.wait(60) == 0


def test_another_process_gives_the_same_verdicts(apart, tmp_path, caplog):
    here = run_checks(MEASURES, images().drop(columns="sharpness"), properties(), CHECKS, tmp_path / "here")
    sys.modules.pop("great_expectations", None)
    caplog.clear()
    helper.start()
    first = helper._child
    there = [
        run_checks(
            MEASURES, images().drop(columns="sharpness"), properties(), CHECKS, tmp_path / "there", validator.validate
        )
        for _ in range(2)
    ]
    assert helper._child is first  # one process, however many audits
    assert all(report.results.equals(here.results) for report in there)
    assert caplog.text.count("sharpness_valid could not be evaluated") == 2
    pages = [{page.name for page in (tmp_path / name).rglob("*.html")} for name in ("here", "there")]
    assert pages[0] <= pages[1]
    # a killed one is replaced by this process
    first.process.send_signal(signal.SIGKILL)
    first.process.wait()
    again = run_checks(MEASURES, images(), properties(), CHECKS, None, validator.validate)
    assert outcome(again)["enough_images"]


def test_a_process_that_dies_at_work_costs_nothing_but_time(apart, caplog):
    helper.start()
    child = helper._child
    os.kill(child.process.pid, signal.SIGSTOP)  # it takes the work and never answers
    killer = subprocess.Popen(["sh", "-c", f"sleep 0.5; kill -9 {child.process.pid}"])
    with caplog.at_level(logging.INFO, logger="dataprops"):
        report = run_checks(MEASURES, images(), properties(), CHECKS, None, validator.validate)
    killer.wait()
    child.process.wait()
    assert not outcome(report)["conflicts"]
    assert "runs in this process" in caplog.text
    assert helper._child is None


@pytest.mark.parametrize(
    ("end", "library"), [("os.kill(os.getpid(), signal.SIGKILL)", ""), ("sys.exit(2)", "import time; time.sleep(900)")]
)
def test_it_ends_with_the_process_that_asked(tmp_path, end, library):
    """Killed: the pipe is closed. Ended, as by wrong usage: at once, in the middle of an import."""
    (tmp_path / "great_expectations.py").write_text(library)  # what is imported does not matter here
    script = (
        "import os, signal, sys; from dataprops.util import helper; helper.start(); "
        f"print(helper._child.process.pid, flush=True); {end}"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    died = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    until(lambda: not _runs(int(died.stdout)), "the end of the process", 60)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def read_modules(*wanted: str) -> list[str]:
    """Of these modules, those that this process has read; asked of the helper."""
    return sorted(name for name in wanted if name in sys.modules)


def use_later() -> tuple[float, bool, str]:
    """What was left out is whole once it is used: a function, a class and the file."""
    import altair
    from scipy import stats

    return float(stats.norm.cdf(0)), isinstance(altair.Chart, type), Path(stats.__file__).parent.name


def test_what_the_checks_do_not_use_is_read_when_it_is_used(apart):
    parts = ("great_expectations.core", "scipy.stats._stats_py", "altair.vegalite")
    helper.start()
    assert outcome(run_checks(MEASURES, images(), properties(), CHECKS, None, validator.validate))["enough_images"]
    assert helper.submit(__name__, "read_modules", *parts).result() == ["great_expectations.core"]
    assert helper.submit(__name__, "use_later").result() == (0.5, True, "stats")
    assert helper.submit(__name__, "read_modules", *parts).result() == sorted(parts)


@pytest.fixture
def idle(monkeypatch):
    """A helper that has nothing to import."""
    monkeypatch.setattr(helper, "FIRST", "no_such_library")
    monkeypatch.setattr(helper, "_child", None)
    yield
    helper.stop()


def test_the_helper_works_beside_this_process_one_job_after_the_other(idle):
    (first,) = helper.start((("os", "getpid"),))
    pid = helper._child.process.pid
    assert helper.start((("os", "getpid"),)) == []  # it is there already
    large = "x" * 2**21  # more than a pipe holds, both ways, and nobody waits for the other
    answers = [
        helper.submit("builtins", "str", large),
        helper.submit("os", "getpid"),
        helper.submit("builtins", "str", large),
    ]
    assert [answer.result() for answer in answers] == [large, pid, large]
    assert first.result() == pid != os.getpid()


def test_what_the_first_import_does_not_need_is_absent_for_it_alone(tmp_path, monkeypatch):
    (tmp_path / "first_library.py").write_text(
        "try:\n    import sqlalchemy\n    found = True\nexcept ImportError:\n    found = False\n"
        "def answer():\n    import sqlalchemy\n    return found, sqlalchemy.__name__\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(helper, "FIRST", "first_library")
    monkeypatch.setattr(helper, "_child", None)
    helper.start()
    assert helper._child is not None
    assert helper.submit("first_library", "answer").result() == (False, "sqlalchemy")
    helper.stop()


def test_what_need_not_wait_is_done_here_while_the_helper_is_at_work(idle):
    helper.start()
    pid = helper._child.process.pid
    slow = helper.submit("time", "sleep", 1.0)
    assert helper.submit("os", "getpid", queue=False).result() == os.getpid()
    slow.result()
    assert helper.submit("os", "getpid", queue=False).result() == pid


def test_what_the_helper_cannot_do_is_done_here(idle, caplog):
    assert helper.submit("os", "getpid").result() == os.getpid()  # it was never started
    helper.start()
    with pytest.raises(ValueError, match="invalid literal"):
        helper.submit("builtins", "int", "one").result()
    assert "is run again in this process" in caplog.text
    child = helper._child
    os.kill(child.process.pid, signal.SIGSTOP)
    job = helper.submit("os", "getpid")
    child.process.kill()
    assert job.result() == os.getpid()
    assert helper._child is None


def test_kernels_are_compiled_ahead_only_where_none_are_kept(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(helper, "start", lambda first=(): asked.append(first) or [])
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    kernels.begin()
    (tmp_path / "deep").mkdir()
    state = state_of(Path(kernels.dataprops.__file__).parent / "distances")
    (tmp_path / "deep/kernel.reduce_tile-1.py311.nbi").write_text(f"0.63.1 {state}")
    kernels.begin()
    assert asked == [(kernels.COMPILE,), ()]
    kernels.wait()


def test_our_processes_look_for_cycles_seldom():
    script = (
        "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count() > 0));"
        " from dataprops.util.garbage import collect_seldom, THRESHOLDS; collect_seldom();"
        " assert gc.get_threshold() == THRESHOLDS and THRESHOLDS[0] > 10_000"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "True\n"


@pytest.mark.parametrize("own", [None, "active"])
def test_idle_threads_of_openmp_sleep_unless_the_user_says_otherwise(monkeypatch, tmp_path, own):
    monkeypatch.setenv("OMP_WAIT_POLICY", own or "")
    if own is None:
        monkeypatch.delenv("OMP_WAIT_POLICY")
    assert CliRunner().invoke(main, ["history", "--store", str(tmp_path), "nothing"]).exit_code == 2
    assert os.environ["OMP_WAIT_POLICY"] == (own or "passive")


@pytest.mark.parametrize("helper_does", ["nothing", "the first", "all but the copies", "ends at the copies"])
def test_parts_that_the_helper_has_not_begun_with_are_done_here_and_once(tmp_path, monkeypatch, helper_does):
    run = SimpleNamespace(run_id="one", work=tmp_path, config=SimpleNamespace(size=32))
    done: list[tuple[str, str]] = []
    where = ["helper"]
    answers = {"copies": "copies", "shortcuts": (None, "shortcuts"), "faults": ["dark"], "opinions": "doubts"}

    def part(name):
        return lambda run: done.append((name, where[0])) or answers[name]

    for name in background.PARTS:
        monkeypatch.setitem(background.PARTS, name, part(name))
    jobs = {}

    def submit(module, function, run, name, ticket, begin=False):
        jobs[name] = helper.Job(module, function, (run, name, ticket), None)
        return jobs[name]

    monkeypatch.setattr(helper, "submit", submit)
    background.submit(run, background.OF_IMAGES)
    background.submit(run, background.OF_NEIGHBOURS)
    background.submit(run, background.OF_PROBE)
    tickets = {name: tmp_path / f"{name}.ticket" for name in background.PARTS}
    began = {"the first": 1, "all but the copies": 2, "ends at the copies": 2}.get(helper_does, 0)
    for name in list(background.PARTS)[:began]:
        answer = Future()
        answer.set_result(background.find_if_left(run, name, tickets[name]))
        jobs[name]._answer = answer
    if helper_does == "ends at the copies":
        tickets["copies"].unlink()
    where[0] = "here"
    assert background.collect(run) == ("copies", None, "shortcuts", ["dark"], "doubts")
    here = [name for name, place in done if place == "here"]
    left = list(background.PARTS)[began:]
    taken_back = [name for name in reversed(left) if name not in background.ITS_OWN]
    assert here == [*taken_back, *(name for name in left if name in background.ITS_OWN)]
    assert sorted(name for name, _ in done) == sorted(background.PARTS)
    # the helper, which comes to them later
    assert all(background.find_if_left(run, name, ticket) is None for name, ticket in tickets.items())
    assert not list(tmp_path.iterdir())
