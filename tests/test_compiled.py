"""What numba kept counts for one state of the files: neither a function that was called, nor a type that moved, comes from before."""

import os
import subprocess
import sys

from tests.prefect_server import ROOT

KERNEL = """
from dataprops.util.compiled import njit
from {place} import Pair
from called import double

@njit()
def run(pair):
    return double(pair.a) + pair.b
"""
CALLED = """
from dataprops.util.compiled import njit

@njit()
def double(a):
    return {times} * a
"""
PAIR = """
from typing import NamedTuple

class Pair(NamedTuple):
    a: int
    b: int
"""
ASK = """
import kernel
value = kernel.run(kernel.Pair(10, 1))
print(value, sum(kernel.run.stats.cache_hits.values()))
"""


def ask(folder) -> tuple[int, int]:
    """What the kernel gives in a new process, and how often it found itself kept."""
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "NUMBA_CACHE_DIR": str(folder / "kept")}
    ran = subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    value, hits = ran.stdout.split()
    return int(value), int(hits)


def test_what_was_kept_is_used_until_a_file_beside_it_changes(tmp_path):
    (tmp_path / "pairs.py").write_text(PAIR)
    (tmp_path / "called.py").write_text(CALLED.format(times=2))
    (tmp_path / "kernel.py").write_text(KERNEL.format(place="pairs"))
    assert ask(tmp_path) == (21, 0)
    assert ask(tmp_path) == (21, 1)
    (tmp_path / "called.py").write_text(CALLED.format(times=3))  # the kernel's own file is as it was
    assert ask(tmp_path) == (31, 0)
    assert ask(tmp_path) == (31, 1)


def test_a_type_that_moved_ends_nothing(tmp_path):
    (tmp_path / "pairs.py").write_text(PAIR)
    (tmp_path / "called.py").write_text(CALLED.format(times=2))
    (tmp_path / "kernel.py").write_text(KERNEL.format(place="pairs"))
    assert ask(tmp_path) == (21, 0)
    (tmp_path / "moved.py").write_text(PAIR)
    (tmp_path / "pairs.py").write_text("")
    (tmp_path / "kernel.py").write_text(KERNEL.format(place="moved"))
    assert ask(tmp_path) == (21, 0)
