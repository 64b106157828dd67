"""Compiles the engine's kernels in the helper process while the first audit after an installation reads and decodes.

numba caches them (`util.compiled`), so later audits skip this.
"""

from __future__ import annotations

import os
from pathlib import Path

import dataprops
from dataprops.util import helper
from dataprops.util.version import state_of

COMPILE = (__name__, "compile_all")
_jobs: list[helper.Job] = []


def kept() -> bool:
    """Whether numba's cache has kernels compiled from the current code."""
    source = Path(dataprops.__file__).parent / "distances"
    if folder := os.environ.get("NUMBA_CACHE_DIR"):
        places = [Path(folder)]
    else:  # next to the module, or in the user's cache if that is not writable
        user = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")  # noqa: PTH111, PTH118
        places = [source / "__pycache__", Path(user) / "numba"]
    state = state_of(source).encode()  # an index begins with it, see `util.compiled`
    return any(state in found.read_bytes() for place in places for found in place.rglob("kernel.reduce_tile*.nbi"))


def begin() -> None:
    """Start the helper; it compiles the kernels first if they are not cached."""
    _jobs.extend(helper.start(() if kept() else (COMPILE,)))


def wait() -> None:
    """Wait for the kernels, which this process would otherwise compile again."""
    while _jobs:
        _jobs.pop().result()


def compile_all() -> None:
    """Compile by running a small pass on both array layouts of audits: writeable (gathered) and read-only (memory-mapped)."""
    import numpy as np

    from dataprops.distances.allpairs import Runner, all_pairs, array_rows
    from dataprops.distances.plan import plan_pass
    from dataprops.distances.state import PassSpec

    pixels = np.random.default_rng(0).integers(0, 256, (96, 64)).astype(np.uint8)
    mapped = pixels.copy()
    mapped.flags.writeable = False
    for images in (pixels, mapped):
        rows = array_rows(images, np.arange(96.0) % 2)
        all_pairs(rows, PassSpec(20, numeric=False, near2=-1.0), plan_pass(96, 64, 20), Runner())
