"""The flow and the command line: the same numbers as inline, what the exit codes say, nothing in the home folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from flows.cli import main
from flows.commands.audit import _import_ahead
from tasks.progress import prefect_progress
from tests.make_images import SIZE, random_folder, save

MEASURED = ("n_images", "preprocess", "intrinsic_dimension", "label_sharpness", "findings", "conflicts", "checks")


# the command, and what it imported and compiled when it ends
COUNTED = """
import atexit, json, sys

def count():
    ours = [module for name, module in sys.modules.items() if name.split(".")[0] == "dataprops"]
    functions = {id(f): f for module in ours for f in vars(module).values() if hasattr(f, "py_func")}
    kernels = sum(len(f.signatures) for f in functions.values())
    names = sorted({name.split(".")[0] for name in sys.modules})
    print(json.dumps({"modules": len(sys.modules), "names": names, "kernels": kernels}), file=open(sys.argv[1], "w"))

atexit.register(count)
from flows.cli import main
main(sys.argv[2:])
"""


def run(
    arguments: list[str], home: Path, program: Sequence[str] = ("-m", "flows.cli"), **options
) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    environment |= {"HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[1])}
    environment.pop("MPLCONFIGDIR", None)
    command = [sys.executable, *program, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False, **options)


@pytest.fixture(scope="module")
def audited(tmp_path_factory) -> dict:
    """One small set with a conflict, audited as a flow and inline by the command line."""
    root = tmp_path_factory.mktemp("flow")
    images = random_folder(root / "set", {"a": 60, "b": 55})
    save(root / "set/b/twin.png", images["a/000.png"])
    (root / "home").mkdir()
    common = ["audit", str(root / "set"), "--size", str(SIZE), "--k", "5", "--json"]
    out = {"root": root}
    out["flow"] = run([*common, "--store", str(root / "flow"), "--workers", "3"], root / "home")
    inline = [*common, "--store", str(root / "inline"), "--inline", "--workers", "1", "--fail-on", "never"]
    out["inline"] = run(inline, root / "home", ("-c", COUNTED, str(root / "counts.json")))
    again = [*common, "--store", str(root / "flow"), "--fail-on", "never"]
    out["again"] = run(again, root / "home", ("-c", COUNTED, str(root / "again.json")))
    return out


def test_an_audit_stays_within_its_budget_of_imports_kernels_and_files(audited):
    """What the first minute is made of, by counts: seconds depend on the machine. More is a decision, not an accident."""
    counts = json.loads((audited["root"] / "counts.json").read_text())
    elsewhere = {
        "great_expectations",
        "altair",
        "sqlalchemy",
        "sklearn",
        "matplotlib",
        "statsmodels",
    }  # the helper, or nobody
    assert not (elsewhere | {"prefect", "dask", "distributed"}) & set(counts["names"])
    assert counts["modules"] < 2_900  # November 2026: 2,673, of which torch 770, pandas 300; 3,382 without the helper
    assert 0 < counts["kernels"] <= 6  # compiled functions and types; 4
    files = [path for path in (audited["root"] / "inline").rglob("*") if path.is_file()]
    assert len(files) <= 80  # 31


def test_the_helper_needs_no_torch_for_pictures_too_small_to_align(tmp_path):
    """torch is the largest import of all, and the process that audits has it already."""
    script = (
        "import sys; from importlib import import_module; from dataprops.audit import background, drawn;"
        " from dataprops.findings import pixels_tell, quality, second_opinion, shortcut, slices;"
        " from dataprops.report import plots; [import_module(name) for name in background.USES];"
        " print('torch' in sys.modules); [import_module(name) for name in background.OF_COPIES]; print('torch' in sys.modules)"
    )
    assert run([], tmp_path, ("-c", script)).stdout.split() == ["False", "True"]


def test_copies_of_pictures_too_small_to_align_are_not_handed_to_the_helper(tmp_path, monkeypatch):
    from types import SimpleNamespace

    from dataprops.audit import background
    from dataprops.findings.thumbnails import LEAST_SIDE
    from dataprops.util import helper

    sent = []
    monkeypatch.setattr(helper, "submit", lambda *arguments, **_: sent.append(arguments))
    for size in (LEAST_SIDE - 1, LEAST_SIDE):
        run_of = SimpleNamespace(run_id=f"of {size}", work=tmp_path, config=SimpleNamespace(size=size))
        background.prepare(size, 100)
        background.submit(run_of, background.OF_NEIGHBOURS)
        background.drop(run_of)
    imported = [arguments[2] for arguments in sent if arguments[1] == "import_all"]
    assert imported == [background.USES, background.USES + background.OF_COPIES]
    assert [arguments[3] for arguments in sent if arguments[1] == "find_if_left"] == ["copies"]


def test_a_flow_with_nothing_new_imports_nothing_that_computes(audited):
    assert json.loads(audited["again"].stdout)["conflicts"] == [["a/000.png", "b/twin.png"]]
    names = json.loads((audited["root"] / "again.json").read_text())["names"]
    assert "distributed" in names
    assert not {"torch", "numba", "sklearn", "great_expectations"} & set(names)


def test_flow_and_inline_give_the_same_numbers(audited):
    flow, inline = json.loads(audited["flow"].stdout), json.loads(audited["inline"].stdout)
    for name in MEASURED:
        assert flow[name] == inline[name]
    assert flow["conflicts"] == [["a/000.png", "b/twin.png"]]


def test_a_flow_of_three_threads_and_one_thread_inline_write_equal_tables(audited):
    folders = [Path(json.loads(audited[how].stdout)["results"]) for how in ("flow", "inline")]
    names = sorted(path.name for path in folders[0].glob("*.parquet") if path.name != "run.parquet")
    assert len(names) > 8
    for name in names:
        of_the_run = ["run_id", "created", "run", "seconds"]
        flow, inline = (pd.read_parquet(folder / name).drop(columns=of_the_run, errors="ignore") for folder in folders)
        pd.testing.assert_frame_equal(flow, inline, check_exact=True, obj=name)


def test_what_a_flow_loads_ahead_is_there_with_something_new_and_without():
    for something_new in (True, False):
        _import_ahead(something_new=something_new)


def test_exit_codes(audited):
    assert audited["flow"].returncode == 1, audited["flow"].stderr  # a conflict is critical
    assert audited["inline"].returncode == 0, audited["inline"].stderr


def test_json_mode_prints_one_object_and_progress_goes_to_the_other_stream(audited):
    json.loads(audited["flow"].stdout)
    assert "decoding" in audited["flow"].stderr
    assert "comparing pairs" in audited["flow"].stderr


def test_nothing_is_written_to_the_home_folder_or_the_source(audited):
    assert list((audited["root"] / "home").rglob("*")) == []
    assert {path.suffix for path in (audited["root"] / "set").rglob("*") if path.is_file()} == {".png"}


def test_the_flow_left_its_traces_in_prefect(audited):
    """Stages as task runs in order, and result artifacts, in the database of the temporary server."""
    import sqlite3

    with sqlite3.connect(audited["root"] / "flow" / "prefect" / "prefect.db") as database:
        flows = database.execute("select name, state_type from flow_run").fetchall()
        tasks = database.execute("select name, state_type from task_run order by start_time").fetchall()
        artifacts = dict(database.execute("select key, type from artifact").fetchall())
    assert flows == [("set (by hand)", "COMPLETED")] * 2
    stages = ["scan", "decode", "distances", "measure", "probe", "find", "check", "report"]
    nothing_new = ["scan", "decode", "check", "report"]
    assert tasks == [(name, "COMPLETED") for name in [*stages, *nothing_new]]
    assert artifacts["audit-set"] == "markdown"
    assert artifacts["properties-set"] == "table"
    assert artifacts["findings-set"] == "table"


def test_what_takes_long_moves_an_artifact_and_what_does_not_asks_no_server(monkeypatch):
    import prefect.artifacts

    import tasks.progress
    from dataprops.util.tools import no_progress

    told = []
    monkeypatch.setattr(tasks.progress, "ARTIFACT_SECONDS", 0.01)
    monkeypatch.setattr(prefect.artifacts, "create_progress_artifact", lambda *about: told.append(about) or 7)
    monkeypatch.setattr(prefect.artifacts, "update_progress_artifact", lambda at, progress: told.append((at, progress)))
    with prefect_progress(no_progress)("comparing pairs", 200, "pairs") as advance:
        advance(50)
        while len(told) < 3:
            time.sleep(0.01)
    assert told[0] == (25.0, "progress-comparing-pairs", "comparing pairs: 200 pairs")
    assert told[1:-1] == [(7, 25.0)] * (len(told) - 2)
    assert told[-1] == (7, 100.0)
    told.clear()
    monkeypatch.setattr(tasks.progress, "ARTIFACT_SECONDS", 60.0)
    with prefect_progress(no_progress)("comparing pairs", 200, "pairs") as advance:
        advance(200)
    assert told == []


def test_a_run_on_a_temporary_server_sends_no_heartbeats(tmp_path, monkeypatch):
    """Their thread would keep every flow for up to a second."""
    from types import SimpleNamespace

    from prefect.settings import get_current_settings

    from flows import server

    process = SimpleNamespace(terminate=lambda: None, wait=lambda _: 0, stdin=None)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_API_URL", "")
    monkeypatch.setattr(server.subprocess, "Popen", lambda *_, **__: process)
    monkeypatch.setattr(server, "_wait", lambda *_: None)
    usual = get_current_settings().flows.heartbeat_frequency
    with server._temporary_server(tmp_path) as ready:
        assert get_current_settings().flows.heartbeat_frequency == usual is not None
        ready()
        assert get_current_settings().flows.heartbeat_frequency is None
    assert get_current_settings().flows.heartbeat_frequency == usual


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["audit", "/no/such/place", "--inline"], "/no/such/place does not exist"),
        (["audit", "digits:", "--size", "0"], "size must be between 1 and 4096, got 0"),
        (["audit", "digits:", "--memory", "lots"], "memory must be an amount of memory such as 4G"),
        (["audit", "digits:", "--estimators", "mle,pca"], "estimators must be mle, twonn, geomle, got 'pca'"),
        (["audit", "digits:", "--size", "8", "--inline", "--memory", "1K"], "are allowed: give more with --memory"),
        (["audit", "digits:", "--size", "8", "--inline", "--thresholds", "none.toml"], "none.toml cannot be read"),
    ],
)
def test_wrong_usage_exits_2_and_says_the_way_out(arguments, message, tmp_path, monkeypatch):
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path))  # the command sets it
    assert_refused(arguments, message, tmp_path)


def assert_refused(arguments: list[str], message: str, folder: Path) -> None:
    """A command, run in this process, ends with 2 and says why."""
    done = CliRunner().invoke(main, [*arguments, "--store", str(folder / "store")])
    assert done.exit_code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_flow_of_nothing_exits_2_as_a_command(tmp_path):
    done = run(["audit", "/no/such/place", "--store", str(tmp_path / "store")], tmp_path)
    assert done.returncode == 2
    assert "/no/such/place does not exist" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_has_examples_and_imports_nothing_heavy(tmp_path):
    done = run(["audit", "--help"], tmp_path)
    assert done.returncode == 0
    assert "dataprops audit digits:" in done.stdout
    heavy = (
        "import sys, flows.cli; print([m for m in ('torch', 'prefect', 'pandas', 'numpy', 'dask') if m in sys.modules])"
    )
    root = Path(__file__).parents[1]
    seen = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, cwd=root, check=True)
    assert seen.stdout.strip() == "[]"


def test_a_cluster_of_processes_gives_the_same_state_even_when_a_worker_dies(tmp_path):
    """Jobs of a pass on Dask worker processes, one of them killed in the middle."""
    import numpy as np
    from distributed import Client, LocalCluster

    from dataprops.distances.allpairs import Runner, all_pairs, array_rows
    from dataprops.distances.plan import Plan
    from dataprops.distances.state import PassSpec
    from dataprops.store.rows import RowPlaces, save_rows
    from tasks.parallel import dask_pool
    from tests.test_sketch import structured

    n, features = 2_200, 1_100  # as few as have sketches
    pixels = structured(n, features, 12, 2.0, 0)
    y = np.random.default_rng(0).integers(0, 2, n).astype(float)
    spec = PassSpec(7, near2=100.0 * features)
    whole = all_pairs(array_rows(pixels, y), spec, Plan(n, 256, 0))
    folder = shards_of(tmp_path, pixels)
    save_rows(
        tmp_path / "rows.npz",
        RowPlaces(folder, ["one.npy"], np.zeros(n, int), np.arange(n)),
        features,
        y,
        np.ones(n, bool),
    )
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0")
    with cluster, Client(cluster) as client:
        killed = []

        def kill_once(pairs: int) -> None:
            if not killed:
                killed.append(next(iter(cluster.workers.values())))
                client.sync(killed[0].kill)

        result = all_pairs(
            array_rows(pixels, y),
            spec,
            Plan(400, 256, 0),
            Runner(pool=dask_pool(client, "cpu")(str(tmp_path / "rows.npz"))),
            on_pairs=lambda pairs: kill_once(pairs) if pairs else None,
        )
    assert killed
    assert len(list(tmp_path.glob("basis-*.npz"))) == 1  # the workers read it, once
    assert whole.sketches is not None and result.sketches is not None and result.sketches.done.all()
    assert np.array_equal(result.sketches.codes, whole.sketches.codes)
    for one, two in zip(result.state, whole.state, strict=True):
        assert np.array_equal(one, two)
    for one, two in zip(result.near.arrays(), whole.near.arrays(), strict=True):
        assert np.array_equal(one, two)


def shards_of(tmp_path: Path, pixels) -> Path:
    """One shard with these rows."""
    import numpy as np
    import pandas as pd

    folder = tmp_path / "shards" / "any"
    folder.mkdir(parents=True)
    np.save(folder / "one.npy", pixels)
    n = len(pixels)
    index = pd.DataFrame(
        {
            "content": [f"{i:032x}" for i in range(n)],
            "row": np.arange(n),
            "pixels": [f"{i:032x}" for i in range(n)],
            "format": "PNG",
            "mode": "L",
            "width": 1,
            "height": 1,
            "peak": 255,
            "grey": True,
            "error": pd.Series([None] * n, dtype=object),
        }
    )
    index.to_parquet(folder / "one.parquet")
    return folder
