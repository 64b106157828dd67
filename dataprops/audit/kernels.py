"""The first audit after an installation compiles the engine's kernels: in the helper's process, while this one reads and decodes.

numba keeps what it compiled (`util.compiled`); later audits find it there, and nothing of this happens.
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
    """Whether an earlier process of the same code left compiled kernels where this one looks for them."""
    source = Path(dataprops.__file__).parent / "distances"
    if folder := os.environ.get("NUMBA_CACHE_DIR"):
        places = [Path(folder)]
    else:  # beside the module, or in the user's cache where that cannot be written
        user = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")  # noqa: PTH111, PTH118
        places = [source / "__pycache__", Path(user) / "numba"]
    state = state_of(source).encode()  # an index begins with it, see `util.compiled`
    return any(state in found.read_bytes() for place in places for found in place.rglob("kernel.reduce_tile*.nbi"))


def begin() -> None:
    """Start the helper; it compiles first where nothing is kept."""
    _jobs.extend(helper.start(() if kept() else (COMPILE,)))


def wait() -> None:
    """Until the kernels are there: this process would compile them a second time."""
    while _jobs:
        _jobs.pop().result()


def compile_all() -> None:
    """A small pass over rows as audits have them: in one shard, mapped from a file, and gathered from several."""
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
