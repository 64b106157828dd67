"""How a pass is cut: into blocks and jobs that fit the memory; refused before any work when it cannot fit.

A *block* is a run of row numbers that is in memory at once; a *job* is a pair of blocks (or one block with itself), the piece
of work that is resumed after a kill or sent to a worker.
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

# about half a minute of products on two cores, or on a large GPU: what a killed run may lose
JOB_OPERATIONS = {"cpu": 1.5e13, "cuda": 1.5e16}
BLOCKS_IN_MEMORY = 3  # the two of a job, and the next one being read
READ_BYTES = 2**22  # read at once by a thread
SHRINK = 0.9  # smaller blocks are read more often: none smaller than need be
MEMORY_FRACTION = 0.6  # of what is free: the machine has other things to do


class Plan(NamedTuple):
    """Cuts of a pass: rows of a block, rows of a tile, the projected working memory in bytes, and whether it has room for sketches."""

    block: int
    edge: int
    bytes: int
    sketches: bool = True


class Job(NamedTuple):
    """All pairs of block `a` with block `b`; a == b: each unordered pair within it once; `both`: rows of b are updated too."""

    a: int
    b: int
    both: bool
    spec: PassSpec


def cut(index: np.ndarray, block: int) -> list[np.ndarray]:
    """Row numbers of each block."""
    return [index[start : start + block] for start in range(0, len(index), block)]


def triangle_jobs(numbers: range, spec: PassSpec) -> list[Job]:
    """Each unordered pair of blocks once: the diagonal first (it gives every row a k-th distance to prune with)."""
    count = len(numbers)
    return [Job(numbers[i], numbers[i + offset], True, spec) for offset in range(count) for i in range(count - offset)]


def job_pairs(job: Job, blocks: list[np.ndarray]) -> int:
    """Number of pairs that a job computes."""
    a, b = len(blocks[job.a]), len(blocks[job.b])
    return a * (a - 1) // 2 if job.a == job.b else a * b


def free_memory() -> int:
    """Bytes that a new process could take now without swapping."""
    import psutil

    return int(psutil.virtual_memory().available)


def free_device_memory(device: str) -> int | None:
    """Bytes that are free on a CUDA device; None where this process sees none (its workers may)."""
    import torch

    if not device.startswith("cuda") or not torch.cuda.is_available():
        return None
    return int(torch.cuda.mem_get_info(torch.device(device))[0])


class PassSize(NamedTuple):
    """How large a pass is: rows, features of a row, neighbours, and rows that are compared with all, if not every row is."""

    n: int
    features: int
    k: int
    anchors: int | None = None


class Resources(NamedTuple):
    """What a pass may use.

    Attributes
    ----------
    memory : int or None
        Bytes that this process (each worker) may use; None: `MEMORY_FRACTION` of what is free, divided by the workers.
    threads : int
        Threads of one worker.
    workers : int
        Workers that share this machine's memory.
    jobs : int
        Least number of jobs wanted, to keep several workers busy.
    device : str
        A GPU is fast and far away: its blocks are larger, within its own memory too.
    """

    memory: int | None = None
    threads: int = 1
    workers: int = 1
    jobs: int = 1
    device: str = "cpu"


DEFAULT = Resources()


def working_bytes(size: PassSize, threads: int, block: int, edge: int, sketched: bool = True) -> int:
    """Projected memory of a pass: state, blocks with sketches, for each thread a tile with its buffers and rows."""
    n, features, k, anchors = size
    blocks = 1 if block >= n else min(BLOCKS_IN_MEMORY, math.ceil(n / block))
    rows = min(block, n)
    # one more copy of a job's rows while its result is merged
    asked = n if anchors is None else anchors
    state = state_bytes(asked, k) + state_bytes(2 * rows, k)
    coordinates = width(features, asked) if sketched else 0
    # those of all rows are kept; a job has its own in their order; a basis is made from a sample and tried on another
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
    """Choose block and tile so that the pass fits.

    Parameters
    ----------
    n, features, k : int
        Rows, features of a row, neighbours.
    resources : Resources
        What it may use.
    anchors : int, optional
        Rows that are compared with all, if not every row is: only these have a state.

    Raises
    ------
    DatapropsError
        If even the smallest cut does not fit; the message has the number.
    """
    memory, threads, workers, jobs, device = resources
    budget = memory if memory is not None else int(free_memory() * MEMORY_FRACTION / workers)
    most = max(SMALLEST_EDGE, int(math.sqrt(JOB_OPERATIONS[device.partition(":")[0]] / max(1, features))))
    on_device = free_device_memory(device)
    if on_device is not None:  # two blocks of a job, beside what its tiles take
        most = min(most, max(SMALLEST_EDGE, int(on_device * MEMORY_FRACTION / 2 / max(1, features))))
    if jobs > 1:
        pieces = math.ceil((math.sqrt(8 * jobs + 1) - 1) / 2)  # p blocks make p (p + 1) / 2 jobs
        most = min(most, max(SMALLEST_EDGE, math.ceil(n / pieces)))
    block, edge, sketched = max(1, min(n, most)), EDGE, True
    while (need := working_bytes(PassSize(n, features, k, anchors), threads, block, edge, sketched)) > budget:
        if block > edge:
            block = max(edge, int(block * SHRINK))
        elif edge > SMALLEST_EDGE:
            edge //= 2
            block = min(block, edge)
        elif sketched:  # slower, and smaller
            block, edge, sketched = max(1, min(n, most)), EDGE, False
        else:
            raise DatapropsError(
                f"{n:,} images of {features:,} features with {k} neighbours need {need / 2**20:,.0f} MiB at least, and"
                f" {budget / 2**20:,.0f} MiB are allowed: give more with --memory, use a smaller --size, or"
                " leave out GeoMLE (--estimators mle,twonn), which alone needs 160 neighbours"
            )
    return Plan(block, edge, need, sketched)
