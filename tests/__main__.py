"""All checks in one command, the quick ones first: ``python -m tests``. Arguments go to pytest.

The tests run in one process more than there are cores, from three to four, since those of operation wait for servers most of the time;
``-n 0`` has them in one. The type checker works beside them, and is heard at their end. What truly needs long - kills and restarts by
the dozen, comparisons by brute force - is marked slow and left to ``python -m tests slow``.
"""

from __future__ import annotations

import os
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


def main() -> int:
    """Run every check; the exit code of the first that fails."""
    root, tools = Path(__file__).parents[1], Path(sys.executable).parent
    more = sys.argv[1:]
    if more[:1] == ["slow"]:
        return _run([sys.executable, "-m", "pytest", *SPREAD, "-m", "slow", *more[1:]], root)
    for name, *options in QUICK:
        if code := _run([str(tools / name), *options], root):
            return code
    with tempfile.TemporaryFile() as said:
        print("== pyright, beside the tests", flush=True)
        checker = subprocess.Popen([str(tools / TYPES[0]), *TYPES[1:]], cwd=root, stdout=said, stderr=subprocess.STDOUT)
        try:
            tests = _run([sys.executable, "-m", "pytest", *SPREAD, "-m", "not slow", *more], root)
            types = checker.wait()
        finally:
            checker.kill()  # after Ctrl-C
        said.seek(0)
        print(f"== pyright\n{said.read().decode(errors='replace')}", flush=True)
    return tests or types


def _run(command: list[str], root: Path) -> int:
    print(f"== {Path(command[0]).name if command[1] != '-m' else command[2]}", flush=True)
    # each process computes on one core: threads of several that wait for each other cost more than they bring
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    if not os.access(root, os.W_OK):  # ruff ends where it cannot keep its cache
        environment["RUFF_NO_CACHE"] = "true"
    return subprocess.run(command, cwd=root, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
