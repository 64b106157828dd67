"""An audit killed in every stage, at random: the store stays whole, and the next run ends with the same results."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from dataprops.audit.composition import STAGES
from dataprops.store.folder import finished_runs, load_summary
from tests import kills
from tests.make_images import random_folder, save


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3, 4, 5))])
def test_an_audit_killed_in_every_stage_ends_with_the_results_of_one_that_was_not(tmp_path, seed):
    images = random_folder(tmp_path / "scans", {"cat": 30, "dog": 30})
    save(tmp_path / "scans/dog/twin.png", images["cat/000.png"])
    (tmp_path / "scans/dog/broken.png").write_bytes(b"no image")
    words = ["-m", "tests.kill_audits", str(tmp_path / "scans"), str(tmp_path), str(seed)]
    command = [sys.executable, "-X", "faulthandler", *words]
    done = subprocess.run(
        command,
        cwd=Path(__file__).parents[1],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=3000,
    )
    assert done.returncode == 0, done.stderr
    whole, *tries, last = map(json.loads, done.stdout.splitlines())
    assert (whole["code"], last["code"]) == (0, 0), done.stderr
    assert {row["stage"] for row in tries} == set(STAGES)
    odd = [row for row in tries if row["code"] != -signal.SIGKILL]
    assert not odd, f"not killed: {odd}\n{done.stderr}"
    # a killed run has results only if it was killed after they were whole
    assert all(row["finished"] == 0 for row in tries if row["stage"] != "report")
    one, two = (finished_runs(tmp_path / store, "scans")[-1] for store in ("whole", "killed"))
    for table in kills.TABLES:
        read = [pd.read_parquet(run / f"{table}.parquet") for run in (one, two)]
        pd.testing.assert_frame_equal(*read, check_exact=True)
    for name in kills.MEASURED:
        assert load_summary(one)[name] == load_summary(two)[name], name
    for page in ("report.html", "summary.md", "data_docs/index.html"):
        assert (two / page).stat().st_size > 0
    # what the killed ones left is gone
    assert not list((tmp_path / "killed/work/scans").iterdir())
    assert not list((tmp_path / "killed/states/scans").glob("*.unfinished.npz"))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.timeout(7200)
def test_a_hundred_kills_leave_nothing_wrong():
    done = subprocess.run(
        [sys.executable, "-m", "tests.kills", "--kills", "100", "--seed", "1"],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.splitlines()[-1].startswith("100 kills (") and done.stdout.endswith(", 0 wrong\n")


# the command that kills at random moments, on work that takes a tenth of a second


def work(seconds: float) -> None:
    began = time.process_time()
    while time.process_time() - began < seconds:
        pass


def honest(folder: Path) -> None:
    (folder / "begun").touch()
    work(0.03)
    (folder / "out").write_text("done")


def forgetful(folder: Path) -> None:
    before = (folder / "begun").exists()
    (folder / "begun").touch()
    work(0.03)
    (folder / "out").write_text("done again" if before else "done")


def outlived(folder: Path) -> None:
    (folder / "pid").write_text(str(subprocess.Popen(["sleep", "600"]).pid))
    time.sleep(600)


def stubborn(folder: Path) -> None:
    before = (folder / "begun").exists()
    (folder / "begun").touch()
    work(0.03)
    if before:
        raise OSError("no second time")


def kind_of(run) -> kills.Kind:
    return kills.Kind(lambda folder: None, run, lambda folder: ({}, (folder / "out").read_text()))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of forks beside threads
def test_the_command_that_kills_sees_what_must_not_be(tmp_path, monkeypatch):
    monkeypatch.setattr(kills, "BY_FORK", ("toy",))
    monkeypatch.setattr(kills, "PATIENCE", 0.02)
    for run, wrong in ((honest, None), (forgetful, "differ from the undisturbed"), (stubborn, "no second time")):
        monkeypatch.setitem(kills.KINDS, "toy", kind_of(run))
        undisturbed = kills.Undisturbed(tmp_path / run.__name__)
        undisturbed.base.mkdir()
        if run is stubborn:
            undisturbed.known["toy"] = 0.03, ({}, "done")
            (undisturbed.base / "toy-prepared").mkdir()
            (undisturbed.base / "toy-prepared/begun").touch()
        if wrong is None:
            assert kills.one(0, "toy", 1, undisturbed).startswith("the command, after")
            continue
        with pytest.raises(kills.Wrong, match=wrong):
            kills.one(0, "toy", 1, undisturbed)
    monkeypatch.setitem(kills.KINDS, "toy", kind_of(outlived))
    (tmp_path / "outlived").mkdir()
    pid = tmp_path / "outlived/pid"
    # not after some processor time: on a busy machine, or while lines are counted, it may pass before the other one is there
    monkeypatch.setattr(kills, "spent", lambda process, kind: float(pid.exists() and pid.read_text() != ""))
    try:
        with pytest.raises(kills.Wrong, match=r"still running: .*sleep 600"):
            kills.kill("toy", tmp_path / "outlived", 1.0, random.Random(0))
    finally:
        os.kill(int(pid.read_text()), signal.SIGKILL)


def test_tables_that_differ_in_one_value_are_not_the_same():
    one, two = ({"images": pd.DataFrame({"x": [1.0, value]})} for value in (2.0, 2.0000001))
    kills.same((one, None), (one, None))
    with pytest.raises(kills.Wrong, match="images differs from the undisturbed one"):
        kills.same((one, None), (two, None))
