"""Plan a pass: divide it into blocks and jobs that fit in memory, or raise before any work.

A *block* is a run of row numbers held in memory at once; a *job* is a pair of blocks (or one block with itself), the unit of
checkpointing and of distribution to workers.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from dataprops.distances.basis_choice import LEAST_SAMPLE, width
from dataprops.distances.pooled import pictures_bytes
from dataprops.distances.sketch import CHUNK
from dataprops.distances.state import PassSpec, state_bytes
from dataprops.distances.tiles import EDGE, SMALLEST_EDGE
from dataprops.errors import DatapropsError

# about half a minute of products on two cores, or on a large GPU: the work that a killed run may lose
JOB_OPERATIONS = {"cpu": 1.5e13, "cuda": 1.5e16}
BLOCKS_IN_MEMORY = 3  # the two of a job, and the one being prefetched
READ_BYTES = 2**22  # read at once by a thread
SHRINK = 0.9  # factor between candidate block sizes; larger blocks are read less often
MEMORY_FRACTION = 0.6  # of the free memory


class Plan(NamedTuple):
    """Rows of a block, rows of a tile, projected working memory in bytes, and whether sketches fit."""

    block: int
    edge: int
    bytes: int
    sketches: bool = True


class Job(NamedTuple):
    """All pairs of block `a` with block `b` (a == b: each unordered pair once); `both`: rows of b are updated too."""

    a: int
    b: int
    both: bool
    spec: PassSpec


def cut(index: np.ndarray, block: int) -> list[np.ndarray]:
    """Split row numbers into blocks."""
    return [index[start : start + block] for start in range(0, len(index), block)]


def triangle_jobs(numbers: range, spec: PassSpec) -> list[Job]:
    """Each unordered pair of blocks once, the diagonal first, which gives every row a k-th distance for pruning."""
    count = len(numbers)
    return [Job(numbers[i], numbers[i + offset], True, spec) for offset in range(count) for i in range(count - offset)]


def job_pairs(job: Job, blocks: list[np.ndarray]) -> int:
    """Number of pairs in a job."""
    a, b = len(blocks[job.a]), len(blocks[job.b])
    return a * (a - 1) // 2 if job.a == job.b else a * b


def free_memory() -> int:
    """Available memory in bytes, without swapping."""
    import psutil

    return int(psutil.virtual_memory().available)


def free_device_memory(device: str) -> int | None:
    """Free bytes on a CUDA device; None if this process sees no device (its workers may)."""
    import torch

    if not device.startswith("cuda") or not torch.cuda.is_available():
        return None
    return int(torch.cuda.mem_get_info(torch.device(device))[0])


class PassSize(NamedTuple):
    """Size of a pass: rows, features, neighbours, and the number of anchors (None: all rows against all)."""

    n: int
    features: int
    k: int
    anchors: int | None = None


class Resources(NamedTuple):
    """Resources of a pass.

    Attributes
    ----------
    memory : int or None
        Bytes for this process (each worker); None: `MEMORY_FRACTION` of the free memory, divided by the workers.
    threads : int
        Threads per worker.
    workers : int
        Workers that share this machine's memory.
    jobs : int
        Minimum number of jobs, to keep several workers busy.
    device : str
        On a GPU blocks are larger, to amortise transfers, and must also fit in its memory.
    """

    memory: int | None = None
    threads: int = 1
    workers: int = 1
    jobs: int = 1
    device: str = "cpu"


DEFAULT = Resources()


def working_bytes(size: PassSize, threads: int, block: int, edge: int, sketched: bool = True) -> int:
    """Projected memory of a pass: state, blocks with sketches, and per thread a tile with its buffers and rows."""
    n, features, k, anchors = size
    blocks = 1 if block >= n else min(BLOCKS_IN_MEMORY, math.ceil(n / block))
    rows = min(block, n)
    # includes a copy of a job's rows while its result is merged
    asked = n if anchors is None else anchors
    state = state_bytes(asked, k) + state_bytes(2 * rows, k)
    coordinates = width(features, asked) if sketched else 0
    # sketches of all rows, a job's reordered copies, and the two samples from which the basis is chosen
    sketches = (
        (0 if anchors is not None else n * (coordinates + 17))
        + 2 * min(2, blocks) * rows * (coordinates + 24)
        + (3 * coordinates + (max(LEAST_SAMPLE, coordinates) if coordinates else 0)) * features
        + threads * CHUNK * coordinates * 20
    )
    if coordinates:
        sketches += min(2, blocks) * rows * pictures_bytes(features)
    tile = min(edge, rows) ** 2 * (4 + 16 + 8) + 2 * min(edge, rows) * features
    read = (threads + 1) * min(READ_BYTES, rows * features)
    return state + blocks * rows * (features + 24) + sketches + threads * tile + read


def plan_pass(
    n: int,
    features: int,
    k: int,
    resources: Resources = DEFAULT,
    *,
    anchors: int | None = None,
) -> Plan:
    """Choose block and tile size so that the pass fits in memory.

    Parameters
    ----------
    n, features, k : int
        Rows, features, neighbours.
    resources : Resources
    anchors : int, optional
        Number of rows to compare with all; only these have a state. By default all rows.

    Raises
    ------
    DatapropsError
        If even the smallest plan does not fit; the message states the memory required.
    """
    memory, threads, workers, jobs, device = resources
    budget = memory if memory is not None else int(free_memory() * MEMORY_FRACTION / workers)
    most = max(SMALLEST_EDGE, int(math.sqrt(JOB_OPERATIONS[device.partition(":")[0]] / max(1, features))))
    on_device = free_device_memory(device)
    if on_device is not None:  # two blocks of a job, beside its tiles
        most = min(most, max(SMALLEST_EDGE, int(on_device * MEMORY_FRACTION / 2 / max(1, features))))
    if jobs > 1:
        pieces = math.ceil((math.sqrt(8 * jobs + 1) - 1) / 2)  # p blocks give p (p + 1) / 2 jobs
        most = min(most, max(SMALLEST_EDGE, math.ceil(n / pieces)))
    block, edge, sketched = max(1, min(n, most)), EDGE, True
    while (need := working_bytes(PassSize(n, features, k, anchors), threads, block, edge, sketched)) > budget:
        if block > edge:
            block = max(edge, int(block * SHRINK))
        elif edge > SMALLEST_EDGE:
            edge //= 2
            block = min(block, edge)
        elif sketched:  # without sketches: slower, but less memory
            block, edge, sketched = max(1, min(n, most)), EDGE, False
        else:
            raise DatapropsError(
                f"{n:,} images of {features:,} features with {k} neighbours need at least {need / 2**20:,.0f} MiB, and"
                f" {budget / 2**20:,.0f} MiB are allowed: give more with --memory, use a smaller --size, or"
                " omit GeoMLE (--estimators mle,twonn), the only estimator that needs 160 neighbours"
            )
    return Plan(block, edge, need, sketched)
