"""All checks in one command, the quick ones first: ``python -m tests``. Arguments go to pytest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("pyright", "--pythonpath", sys.executable),
    ("lint-imports", "--no-cache"),
    ("pytest",),
)


def main() -> int:
    """Run every check; the exit code of the first that fails."""
    root = Path(__file__).parents[1]
    tools = Path(sys.executable).parent
    for name, *options in CHECKS:
        more = sys.argv[1:] if name == "pytest" else []
        print(f"== {name}", flush=True)
        program = [sys.executable, "-m", "pytest"] if name == "pytest" else [str(tools / name)]
        if code := subprocess.run([*program, *options, *more], cwd=root, check=False).returncode:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
