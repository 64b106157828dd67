"""An audit killed in every stage, at random: the store stays whole, and the next run ends with the same results."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from dataprops.audit.composition import STAGES
from dataprops.store.folder import finished_runs, load_summary
from tests.make_images import random_folder, save

TABLES = ("images", "properties", "neighbours", "pairs", "findings", "shortcuts", "checks", "alerts")
MEASURED = (
    "n_images",
    "preprocess",
    "intrinsic_dimension",
    "label_sharpness",
    "findings",
    "conflicts",
    "checks",
    "alerts",
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3, 4, 5))])
def test_an_audit_killed_in_every_stage_ends_with_the_results_of_one_that_was_not(tmp_path, seed):
    images = random_folder(tmp_path / "scans", {"cat": 30, "dog": 30})
    save(tmp_path / "scans/dog/twin.png", images["cat/000.png"])
    (tmp_path / "scans/dog/broken.png").write_bytes(b"no image")
    command = [sys.executable, "-m", "tests.kill_audits", str(tmp_path / "scans"), str(tmp_path), str(seed)]
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
    assert all(row["code"] == -signal.SIGKILL for row in tries), done.stderr
    # a killed run has results only if it was killed after they were whole
    assert all(row["finished"] == 0 for row in tries if row["stage"] != "report")
    one, two = (finished_runs(tmp_path / store, "scans")[-1] for store in ("whole", "killed"))
    for table in TABLES:
        read = [pd.read_parquet(run / f"{table}.parquet") for run in (one, two)]
        pd.testing.assert_frame_equal(*read, check_exact=True)
    for name in MEASURED:
        assert load_summary(one)[name] == load_summary(two)[name], name
    for page in ("report.html", "summary.md", "data_docs/index.html"):
        assert (two / page).stat().st_size > 0
    # what the killed ones left is gone
    assert not list((tmp_path / "killed/work/scans").iterdir())
    assert not list((tmp_path / "killed/states/scans").glob("*.unfinished.npz"))
