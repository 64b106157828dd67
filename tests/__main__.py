"""All checks in one command, the quick ones first: ``python -m tests``. Arguments go to pytest.

The tests run in as many processes as there are cores, from two to four; ``-n 0`` has them in one. What truly needs long - kills and
restarts by the dozen, comparisons by brute force - is marked slow and left to ``python -m tests slow``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROCESSES = min(4, max(2, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2))
# the tests of a file stay in one process, and the longest begin (see conftest)
SPREAD = ("-n", str(PROCESSES), "--dist", "loadfile", "--no-loadscope-reorder")
CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("pyright", "--pythonpath", sys.executable),
    ("lint-imports", "--no-cache"),
    ("pytest",),
)


def main() -> int:
    """Run every check; the exit code of the first that fails."""
    root, tools = Path(__file__).parents[1], Path(sys.executable).parent
    more = sys.argv[1:]
    if more[:1] == ["slow"]:
        return _run([sys.executable, "-m", "pytest", *SPREAD, "-m", "slow", *more[1:]], root)
    for name, *options in CHECKS:
        program = [str(tools / name), *options]
        if name == "pytest":
            program = [sys.executable, "-m", "pytest", *SPREAD, "-m", "not slow", *more]
        if code := _run(program, root):
            return code
    return 0


def _run(command: list[str], root: Path) -> int:
    print(f"== {Path(command[0]).name if command[1] != '-m' else command[2]}", flush=True)
    # each process computes on one core: threads of several that wait for each other cost more than they bring
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    if not os.access(root, os.W_OK):  # ruff ends where it cannot keep its cache
        environment["RUFF_NO_CACHE"] = "true"
    return subprocess.run(command, cwd=root, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
