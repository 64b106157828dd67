"""What goes and what stays; kills anywhere; stores of another schema."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from dataprops.errors import DatapropsError
from dataprops.store import folder as store_folder
from dataprops.store import prune
from dataprops.store.folder import finished_runs, locked, open_store
from dataprops.store.prune import Policy, holding, plan
from flows.cli import main
from tests.make_images import random_folder
from tests.make_results import images_table, write_result

RUNS = [f"202611{day:02d}T000000Z-aaaa" for day in (1, 5, 10, 20)]
NOW = datetime(2026, 11, 21, tzinfo=UTC)
GONE_PROCESS = 2**22 + 7  # no pid is larger than 2^22


@pytest.fixture
def folder(tmp_path):
    return open_store(tmp_path / "store")


def going(folder, **policy) -> list[str]:
    with holding(folder, policy.get("shards", False)) as (free, busy):
        found = plan(folder, Policy(**policy), free, busy, NOW)
    return [str(item.paths[-1].relative_to(folder)) for item in found]


def old_file(path, text="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (time.time() - 7200,) * 2)
    return path


def write_shard(folder, name, contents):
    place = folder / "shards" / "preprocess"
    place.mkdir(parents=True, exist_ok=True)
    np.save(place / f"{name}.npy", np.zeros((len(contents), 4), np.uint8))
    pq.write_table(pa.table({"content": pa.array(contents, pa.string())}), place / f"{name}.parquet")


@pytest.mark.parametrize(
    ("policy", "gone"),
    [
        ({}, 0),
        ({"keep_last": 3}, 1),
        ({"keep_last": 9}, 0),
        ({"keep_days": 12}, 1),  # the run of the 5th was the newest when they began
        ({"keep_days": 10}, 2),  # replaced just then
        ({"keep_days": 0}, 3),  # the newest stays
        ({"keep_last": 2, "keep_days": 15}, 1),  # either keeps
    ],
)
def test_the_policy_lets_old_runs_go(folder, policy, gone):
    for run in RUNS:
        write_result(folder, run, images_table(["a", "b"], ["cat", "dog"]))
    assert going(folder, **policy) == [f"results/scans/{run}" for run in RUNS[:gone]]


def test_leftovers_of_dead_processes_go_and_those_of_the_living_stay(folder):
    (folder / "work" / "scans" / "run").mkdir(parents=True)
    old_file(folder / "shards" / "p" / f".{GONE_PROCESS}.0a1b2c3d.part")
    old_file(folder / "states" / "scans" / f"key.npz.{GONE_PROCESS}.part")
    old_file(folder / "states" / "scans" / f"key.npz.{os.getpid()}.part")
    (folder / "states" / "scans" / f"new.npz.{GONE_PROCESS}.part").write_text("of another machine, perhaps")
    assert going(folder) == [
        "work/scans/run",
        f"shards/p/.{GONE_PROCESS}.0a1b2c3d.part",
        f"states/scans/key.npz.{GONE_PROCESS}.part",
    ]


def test_shards_go_that_no_kept_run_and_no_list_names(folder):
    write_result(folder, RUNS[0], images_table(["old"], ["cat"]))
    write_result(folder, RUNS[1], images_table(["kept"], ["cat"]))
    listed = folder / "shards" / "files" / "other.parquet"
    listed.parent.mkdir(parents=True)
    pq.write_table(pa.table({"content": pa.array(["listed", None], pa.string())}), listed)
    for name in ("old", "kept", "listed"):
        write_shard(folder, name, [name, f"{name}-too", None])
    assert going(folder, shards=True) == []  # all runs are kept
    assert going(folder, shards=True, keep_last=1) == [f"results/scans/{RUNS[0]}", "shards/preprocess/old.npy"]
    (folder / "results" / "scans" / RUNS[1] / "images.parquet").write_bytes(b"damaged")
    with pytest.raises(DatapropsError, match="no shards are deleted"):
        going(folder, shards=True, keep_last=1)


def test_a_first_audit_that_begins_while_shards_go_waits_for_that(folder):
    write_result(folder, RUNS[0], images_table(["kept"], ["cat"]))
    began = threading.Event()

    def first_audit():
        with locked(folder, "new"):
            write_shard(folder, "new", ["new"])
            began.set()

    audit = threading.Thread(target=first_audit)
    with holding(folder, shards=True) as (free, busy):
        audit.start()
        assert not began.wait(0.5)
        prune.remove(folder, plan(folder, Policy(shards=True), free, busy, NOW))
    audit.join(60)
    assert (folder / "shards/preprocess/new.npy").is_file() and (folder / "shards/preprocess/new.parquet").is_file()


def test_a_prune_without_shards_lets_first_audits_begin(folder):
    with holding(folder), locked(folder, "new"):
        assert (folder / "locks/new.lock").is_file()


def test_shards_of_a_first_audit_that_runs_stay(folder):
    with locked(folder, "new"):
        write_shard(folder, "new", ["new"])
        with pytest.raises(DatapropsError, match="new is being audited"):
            going(folder, shards=True)


def test_a_dataset_that_is_being_audited_is_passed_over(folder):
    for name in ("busy", "free"):
        for run in RUNS:
            write_result(folder, run, images_table(["a"], ["cat"]), dataset=name)
    with locked(folder, "busy"):
        assert going(folder, keep_last=3) == [f"results/free/{RUNS[0]}"]
        with pytest.raises(DatapropsError, match="busy is being audited"):
            going(folder, shards=True)


def test_the_command_shows_first_and_removes_when_told(folder):
    for run in RUNS:
        write_result(folder, run, images_table(["a"], ["cat"]))
    shown = CliRunner().invoke(main, ["prune", "--store", str(folder), "--keep-last", "1"])
    assert shown.exit_code == 0 and "would be deleted" in shown.stdout and RUNS[0] in shown.stdout
    assert len(finished_runs(folder, "scans")) == 4
    done = CliRunner().invoke(main, ["prune", "--store", str(folder), "--keep-last", "1", "--yes"])
    assert done.exit_code == 0 and "deleted" in done.stdout
    assert [run.name for run in finished_runs(folder, "scans")] == RUNS[-1:]
    assert not list((folder / "gone").iterdir())


def test_a_killed_prune_leaves_whole_runs_and_is_finished_by_the_next(folder, monkeypatch):
    for run in RUNS:
        write_result(folder, run, images_table(["a"], ["cat"]))

    def killed(path):
        (path / "summary.json").unlink()
        raise KeyboardInterrupt

    with holding(folder) as (free, busy):
        found = plan(folder, Policy(keep_last=1), free, busy, NOW)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(prune.shutil, "rmtree", killed)
            prune.remove(folder, found)
    assert [run.name for run in finished_runs(folder, "scans")] == RUNS[1:]
    assert not (folder / "results" / "scans" / RUNS[0]).exists()
    CliRunner().invoke(main, ["prune", "--store", str(folder), "--yes"])
    assert not list((folder / "gone").iterdir())
    assert [run.name for run in finished_runs(folder, "scans")] == RUNS[1:]


# --- schema ----------------------------------------------------------------------------------------------------------


def test_an_older_store_is_migrated_and_a_killed_migration_goes_on(folder, monkeypatch):
    now = store_folder.SCHEMA
    (folder / "version.json").write_text(json.dumps({"schema": now - 2}))
    calls = []

    def step(number, dies=False):
        def run(path):
            calls.append(number)
            if dies and calls.count(number) == 1:
                raise KeyboardInterrupt
            (path / f"step{number}").touch()

        return run

    monkeypatch.setattr(store_folder, "MIGRATIONS", {now - 2: step(now - 2), now - 1: step(now - 1, dies=True)})
    with pytest.raises(KeyboardInterrupt):
        open_store(folder)
    assert json.loads((folder / "version.json").read_text())["schema"] == now - 1
    assert open_store(folder) == folder
    assert calls == [now - 2, now - 1, now - 1] and (folder / f"step{now - 1}").exists()
    assert json.loads((folder / "version.json").read_text())["schema"] == store_folder.SCHEMA
    open_store(folder)
    assert calls == [now - 2, now - 1, now - 1]


@pytest.mark.parametrize("schema", [0, store_folder.SCHEMA + 1])
def test_a_store_that_cannot_be_migrated_is_refused(folder, schema):
    (folder / "version.json").write_text(json.dumps({"schema": schema}))
    with pytest.raises(
        DatapropsError, match=f"has schema {schema}, but this version uses {store_folder.SCHEMA}: use another --store"
    ):
        open_store(folder)
    assert json.loads((folder / "version.json").read_text())["schema"] == schema


def test_no_migration_while_an_audit_runs(folder, monkeypatch):
    monkeypatch.setattr(store_folder, "MIGRATIONS", {store_folder.SCHEMA - 1: lambda path: None})
    with locked(folder, "scans"):
        (folder / "version.json").write_text(json.dumps({"schema": store_folder.SCHEMA - 1}))
        with pytest.raises(DatapropsError, match="is running"):
            open_store(folder)


# --- kills -----------------------------------------------------------------------------------------------------------

AUDIT = """
import os, signal, sys
from contextlib import contextmanager
from types import SimpleNamespace

import pandas as pd

from dataprops.audit import composition
from dataprops.audit.config import AuditConfig
from dataprops.audit.stages import check, distances, report
from dataprops.distances import allpairs
from dataprops.distances.plan import Plan
from dataprops.util.tools import inline_tools

allpairs.CHECKPOINT_SECONDS = 0.0
distances.plan_pass = lambda *args, **how: Plan(32, 256, 0)  # many jobs
# what comes after the tables takes long to import, and is not what is killed here
checks = pd.DataFrame({"check": [], "table": [], "success": []}).astype({"success": bool})
check.run_checks = lambda *args: SimpleNamespace(results=checks, success=True)
report.render = lambda *args, **how: ""
report.markdown_summary = lambda *args: ""
composition.kernels.begin = lambda: None
victim = ""


@contextmanager
def progress(what, total, unit):
    print(what, total, flush=True)
    done = 0

    def advance(count):
        nonlocal done
        done += count
        if what == victim and done > total / 2:
            os.kill(os.getpid(), signal.SIGKILL)

    yield advance


def attempt(source, store):
    config = AuditConfig(source, store, size=12, k=4, sample=50, draws=3, estimators=("mle",), probe=False)
    composition.run_stages(config, inline_tools(progress, 1))


source = sys.argv[1]
attempt(source, sys.argv[2])  # what takes long to import and to load is there in the forks
print("ended with", 0, flush=True)
for line in sys.stdin:
    store, victim = line.rstrip("\\n").split("\\t")
    child = os.fork()
    if not child:
        code = 1
        try:
            attempt(source, store)
            code = 0
        finally:
            os._exit(code)
    print("ended with", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_an_audit_killed_in_decoding_and_in_the_pass_ends_with_the_same_results(tmp_path):
    """SIGKILL in the middle of decoding, then of the pass; the third run computes what is left, to the same tables."""
    random_folder(tmp_path / "scans", {"cat": 120, "dog": 120})

    command = [sys.executable, "-c", AUDIT, str(tmp_path / "scans"), str(tmp_path / "undisturbed")]
    # one thread: the threads of OpenMP are not there in a fork, and waited for
    alone = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=alone) as process:

        def said() -> tuple[int, str]:
            """The exit code of an audit, and what it said before."""
            text = ""
            for line in process.stdout:
                if line.startswith("ended with "):
                    return int(line.removeprefix("ended with ")), text
                text += line
            raise AssertionError(f"the process ended: {text}")

        def run(victim: str) -> tuple[int, str]:
            process.stdin.write(f"{tmp_path / 'store'}\t{victim}\n")
            process.stdin.flush()
            return said()

        assert said()[0] == 0
        code, text = run("decoding")
        assert code == -signal.SIGKILL
        assert "decoding 240" in text
        folder = open_store(tmp_path / "store")
        assert finished_runs(folder, "scans") == []
        with locked(folder, "scans"):  # the lock went with the process
            assert list((folder / "work" / "scans").iterdir())
        code, text = run("comparing pairs")
        assert code == -signal.SIGKILL
        left = int(text.partition("decoding ")[2].split()[0])
        assert 0 < left <= 160  # what was decoded is not decoded again
        assert list((folder / "states" / "scans").glob("*.unfinished.npz"))
        code, text = run("nothing")
        assert code == 0
        assert "decoding" not in text
        process.stdin.close()
    (one,) = finished_runs(tmp_path / "undisturbed", "scans")
    (two,) = finished_runs(folder, "scans")
    for table in ("images", "properties", "neighbours", "pairs", "findings", "shortcuts"):
        read = [pd.read_parquet(run / f"{table}.parquet") for run in (one, two)]
        pd.testing.assert_frame_equal(*read, check_exact=True)
    assert not list((folder / "work" / "scans").iterdir())
    assert not list((folder / "states" / "scans").glob("*.unfinished.npz"))
