"""All checks in one command, the quick ones first: ``python -m tests``. Arguments go to pytest.

The tests run in one process more than there are cores, from three to four, since those of operation wait for servers most of the time;
``-n 0`` has them in one. The type checker works beside them, and is heard at their end. What truly needs long - other hosts,
PostgreSQL, kills by the dozen, comparisons by brute force - is marked slow and left to ``python -m tests slow``.

``python -m tests --coverage`` counts the lines of `dataprops` that the tests run, also in the processes that they start, and shows
those that none runs; ``--cpu=FILE`` writes the CPU seconds of each test.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2
PROCESSES = min(4, max(2, CORES) + 1)
# the tests of a file stay in one process, and the longest begin (see conftest)
SPREAD = ("-n", str(PROCESSES), "--dist", "loadfile", "--no-loadscope-reorder")
QUICK = (("ruff", "check", "."), ("ruff", "format", "--check", "."), ("lint-imports", "--no-cache"))
TYPES = ("pyright", "--pythonpath", sys.executable)
# compiles what every process of the tests needs: once, not in each at the same time
COMPILE = """
import numpy as np
from dataprops import intrinsic_dimension, label_sharpness
images = np.random.default_rng(0).integers(0, 256, (60, 8, 8)).astype(np.uint8)
intrinsic_dimension(images, k=5)
label_sharpness(images, ["a", "b"] * 30, m=None)
"""


def main() -> int:
    """Run every check; the exit code of the first that fails."""
    root, tools = Path(__file__).parents[1], Path(sys.executable).parent
    slow = sys.argv[1:2] == ["slow"]
    more = [word for word in sys.argv[1 + slow :] if word != "--coverage"]
    with tempfile.TemporaryDirectory(prefix="dataprops-tests-") as scratch:
        measured = Path(scratch) / "coverage" if "--coverage" in sys.argv else None
        pytest = [sys.executable, *(("-m", "coverage", "run") if measured else ()), "-m", "pytest", *SPREAD]
        pytest += ["-m", "slow" if slow else "not slow", *more]
        environment = _environment(root, Path(scratch))
        if measured:
            # coverage starts with each process that it installed itself for, and with those that see this module
            (Path(scratch) / "sitecustomize.py").write_text("import coverage\n\ncoverage.process_startup()\n")
            path = os.pathsep.join(filter(None, (scratch, os.environ.get("PYTHONPATH"))))
            environment |= {"COVERAGE_FILE": str(measured), "COVERAGE_RCFILE": str(root / "pyproject.toml")}
            environment |= {"PYTHONPATH": path}
        if slow:
            code = _run(pytest, root, environment)
        else:
            code = _all(root, tools, pytest, environment)
        if measured:
            for command in (["combine", "--quiet"], ["report"]):
                _run([sys.executable, "-m", "coverage", *command], root, environment)
    return code


def _all(root: Path, tools: Path, pytest: list[str], environment: dict[str, str]) -> int:
    """The quick checks, then the tests beside the type checker."""
    for name, *options in QUICK:
        if code := _run([str(tools / name), *options], root, environment):
            return code
    with tempfile.TemporaryFile() as said:
        print("== pyright, beside the tests", flush=True)
        # in what the tests leave of the processor: alone it takes as long as a tenth of them
        command = [*(["nice", "-n", "15"] if shutil.which("nice") else []), str(tools / TYPES[0]), *TYPES[1:]]
        checker = subprocess.Popen(command, cwd=root, stdout=said, stderr=subprocess.STDOUT)
        try:
            subprocess.run([sys.executable, "-c", COMPILE], cwd=root, env=environment, check=False)
            tests = _run(pytest, root, environment)
            types = checker.wait()
        finally:
            checker.kill()  # after Ctrl-C
        said.seek(0)
        print(f"== pyright\n{said.read().decode(errors='replace')}", flush=True)
    return tests or types


def _environment(root: Path, scratch: Path) -> dict[str, str]:
    """Variables of the processes of a run."""
    # each process computes on one core: threads of several that wait for each other cost more than they bring
    environment = {"OMP_NUM_THREADS": "1", "MPLCONFIGDIR": str(scratch), **os.environ}
    # dozens of processes import the same modules: compiled once, whatever the environment says
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if not os.access(root, os.W_OK):  # ruff ends where it cannot keep its cache
        environment["RUFF_NO_CACHE"] = "true"
    return environment


def _run(command: list[str], root: Path, environment: dict[str, str]) -> int:
    print(f"== {Path(command[0]).name if command[1] != '-m' else command[2]}", flush=True)
    return subprocess.run(command, cwd=root, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
