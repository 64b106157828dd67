"""Two audits of one set write the same report and tables, whatever the process's hashes and threads: only run and times differ."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dataprops.audit import audit
from dataprops.imaging import measures
from dataprops.probe import ridge
from tests.make_images import random_folder

OPTIONS = {"size": 12, "k": 4, "sample": 20, "draws": 3, "estimators": ("mle", "twonn")}
AUDIT = f"""
import sys
from dataprops.audit import audit

print(audit(sys.argv[1], store=sys.argv[2], **{OPTIONS})["results"])
"""


OF_THE_RUN = ["run_id", "created", "run", "seconds"]  # columns


def test_two_audits_write_the_same_report_and_tables_but_for_run_and_time(tmp_path: Path) -> None:
    random_folder(tmp_path / "set", {"a": 30, "b": 30, "c": 4})
    (tmp_path / "set/a/copy.png").write_bytes((tmp_path / "set/b/000.png").read_bytes())
    # another process with other hashes; and this one
    command = [sys.executable, "-c", AUDIT, str(tmp_path / "set"), str(tmp_path / "store1")]
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, "2") | {"PYTHONHASHSEED": "1"}
    environment |= {"PYTHONPATH": str(Path(__file__).parents[1])}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    here = audit(tmp_path / "set", store=str(tmp_path / "store2"), **OPTIONS)
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    pages, folders = [], [Path(out.split()[-1]), Path(here["results"])]
    for seed, folder in zip("12", folders, strict=True):
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        page = (folder / "report.html").read_text(encoding="utf-8")
        assert summary["run_id"] in page
        page = (
            page.replace(summary["run_id"], "RUN").replace(summary["created"], "WHEN").replace(f"store{seed}", "STORE")
        )
        pages.append(re.sub(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?|[\d.]+ s\b", "TIME", page))
    assert pages[0] == pages[1]
    one, two = folders
    names = sorted(path.name for path in one.glob("*.parquet"))
    assert len(names) > 5
    for name in names:
        first, second = (pd.read_parquet(folder / name).drop(columns=OF_THE_RUN, errors="ignore") for folder in folders)
        if name != "run.parquet":
            pd.testing.assert_frame_equal(first, second, check_exact=True, obj=name)
    assert names == sorted(path.name for path in two.glob("*.parquet"))


def test_the_trace_of_jpeg_does_not_hang_on_how_a_machine_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine's products differ in the last digit, many coefficients are whole, and others lie near the threshold."""
    rng = np.random.default_rng(0)
    grey = np.cumsum(rng.integers(-2, 3, (100, 128, 128)), axis=2).astype(np.int16) + 128
    grey = np.clip(grey, 0, 255).astype(np.uint8)
    told = measures._quantised(grey)
    assert np.isfinite(told).all()
    for way in (-1.0, 1.0):
        with monkeypatch.context() as other:
            other.setattr(measures, "_COSINES", np.nextafter(measures._COSINES, np.full_like(measures._COSINES, way)))
            np.testing.assert_array_equal(told, measures._quantised(grey))


def test_products_of_the_classifier_do_not_hang_on_a_machines_instructions_in_small_sets() -> None:
    """OpenBLAS sums single precision otherwise with AVX2 than with AVX-512: probabilities differed by 1e-4."""
    z = np.random.default_rng(1).normal(size=(300, 2 * ridge.WIDTH + 100)).astype(np.float32)
    kernel = ridge.inner_products(z)
    for row, column in ((0, 0), (0, 299), (256, 7)):
        exact = math.fsum((z[row].astype(float) * z[column].astype(float)).tolist()) / z.shape[1]
        assert kernel[row, column] == pytest.approx(exact, rel=0, abs=1e-15 * max(1.0, abs(exact)) * 10)
    assert (kernel == kernel.T).all()
