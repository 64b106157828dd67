"""What the first minute may cost, in counts that no busy machine changes: modules imported, kernels compiled, files written."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.prefect_server import ROOT

# the checks' verdicts come from a process of their own, whose imports are not this one's: here they are given at once
SCRIPT = """
import json, sys
from pathlib import Path
from dataprops.checks import validator
start, validator.start = validator.start, lambda: None
from dataprops.audit import composition
from dataprops.audit.config import AuditConfig
from dataprops.util.tools import inline_tools

def validate(frames, checks, rules, docs):
    from dataprops.checks.expectations import Verdicts
    return Verdicts({row.name: True for row in (*checks, *rules)}, ())

validator.validate = validate
composition.importing = __import__("contextlib").nullcontext  # matplotlib is imported while the verdicts are awaited
composition.run_stages(AuditConfig("digits:", sys.argv[1], size=8), inline_tools())
kernels = {}
if "numba" in sys.modules:
    from numba.core.dispatcher import Dispatcher
    for module in [m for n, m in sys.modules.items() if n.startswith("dataprops.")]:
        kernels |= {f"{v.__module__}.{n}": len(v.signatures) for n, v in vars(module).items() if isinstance(v, Dispatcher)}
print(json.dumps({
    "modules": sorted(sys.modules),
    "kernels": {name: count for name, count in kernels.items() if count},
    "files": sorted(str(path.relative_to(sys.argv[1])) for path in Path(sys.argv[1]).rglob("*") if path.is_file()),
}))
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> list[dict]:
    """The digits audited, and audited again with nothing new, each in a new process."""
    store = tmp_path_factory.mktemp("budget")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLCONFIGDIR": str(store / "cache")}
    out = []
    for _ in range(2):
        command = [sys.executable, "-c", SCRIPT, str(store)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        out.append(json.loads(done.stdout))
    return out


def packages(run: dict) -> set[str]:
    return {name.split(".")[0] for name in run["modules"]}


def test_an_audit_imports_what_it_uses(runs):
    first, again = runs
    assert not packages(first) & {
        "great_expectations",
        "prefect",
        "dask",
        "distributed",
        "statsmodels",
        "pydicom",
        "h5py",
    }
    assert not packages(first) & {"nibabel", "fsspec", "sklearn"}
    assert len(first["modules"]) < 2600
    assert not packages(again) & {"torch", "numba", "sklearn", "great_expectations", "prefect", "distributed"}
    assert len(again["modules"]) < 1400


def test_few_kernels_are_compiled(runs):
    first, again = runs
    assert 0 < sum(first["kernels"].values()) <= 8, first["kernels"]
    assert not again["kernels"]


def test_few_files_are_written(runs):
    first, again = ([name for name in run["files"] if not name.startswith("cache")] for run in runs)
    assert len(first) <= 56, first  # 15 shards of 128 images, two files each
    assert 0 < len(again) - len(first) <= 14, set(again) - set(first)
    assert not [name for name in again if name.startswith("work")]
