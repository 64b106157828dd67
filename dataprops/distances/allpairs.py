"""Passes over all pairs of rows, as jobs run in sequence in this process or on a pool of workers.

Rows come from any reader (memory-mapped shards, an array). The next block is prefetched while a job is computed. The state is
checkpointed periodically, so that a killed pass can be resumed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dataprops.distances.checkpoint import load_checkpoint, save_checkpoint
from dataprops.distances.folds import Block, Side
from dataprops.distances.handover import JobArguments, JobPool, JobResult, JobSide
from dataprops.distances.jobs import compute_job, first_block, run_on, second_block
from dataprops.distances.plan import Job, Plan, cut, job_pairs, triangle_jobs
from dataprops.distances.rows import ArrayReader, RowReader, Rows, array_rows, load_block, subset
from dataprops.distances.runner import Runner
from dataprops.distances.sketch import Sketch
from dataprops.distances.sketches import Sketches, begin_sketches
from dataprops.distances.state import NearPairs, PassSpec, State, empty, finalize, merge, run_of

__all__ = [
    "ArrayReader",
    "JobArguments",
    "JobPool",
    "JobResult",
    "JobSide",
    "Pass",
    "PassResult",
    "Resume",
    "RowReader",
    "Rows",
    "Runner",
    "Watch",
    "all_pairs",
    "array_rows",
    "compute_job",
    "load_block",
    "run_jobs",
    "sketchable",
    "sketches_of",
    "subset",
]

CHECKPOINT_SECONDS = 20.0
IN_THIS_PROCESS = Runner()


class PassResult(NamedTuple):
    """Finalized state of all rows, the near pairs, the number of pairs computed, and the rows' sketches."""

    state: State
    near: NearPairs
    pairs: int
    sketches: Sketches | None = None


class Pass(NamedTuple):
    """The data of a pass.

    Attributes
    ----------
    rows : Rows
    blocks : list of int32 arrays
        Ascending row numbers; jobs name blocks by position.
    state, near
        Updated in place (or from the checkpoint).
    places : list of int arrays
        Positions of each block's rows in `state` (equal to `blocks` if row i is at position i). Blocks beyond this list have no state.
    sketches : Sketches, optional
        Sketches of the rows, completed in place.
    """

    rows: Rows
    blocks: list[np.ndarray]
    places: list[np.ndarray]
    state: State
    near: NearPairs
    sketches: Sketches | None = None

    def sketch(self, block: int) -> Sketch | None:
        """Sketches of a block's rows, if all are known."""
        return None if self.sketches is None else self.sketches.part(self.blocks[block])

    def part(self, block: int, spec: PassSpec) -> State:
        """The state of a block's rows, limited to what the job's spec collects: views if the rows are contiguous, else copies."""
        part = self.state.part(run_of(self.places[block]))
        return part if spec.k else part._replace(knn_d2=part.knn_d2[:, :0], knn_index=part.knn_index[:, :0])

    def put_back(self, block: int, part: State | None) -> None:
        """Write the rows of `part` back, unless they are views."""
        for whole, some in zip(self.state, part or (), strict=part is not None):
            if some.size and not np.shares_memory(whole, some):
                whole[self.places[block]] = some


class Resume(NamedTuple):
    """A checkpoint file, resumed from only if it was written under this `key`."""

    file: Path
    key: str = ""

    def of(self, what: str) -> Resume:
        """The same file with `what` appended to the key."""
        return Resume(self.file, f"{self.key} {what}")


class Watch(NamedTuple):
    """Progress callbacks and checkpoint of a pass.

    Attributes
    ----------
    on_plan : callable, optional
        Called before the work with the number of pairs to compute.
    on_pairs : callable, optional
        Called with the number of pairs done since the last call.
    resume : Resume, optional
    """

    on_plan: Callable[[int], None] | None = None
    on_pairs: Callable[[int], None] | None = None
    resume: Resume | None = None

    def plan(self, pairs: int) -> None:
        """Report the number of pairs to compute."""
        if self.on_plan:
            self.on_plan(pairs)


UNWATCHED = Watch()


def run_jobs(
    work: Pass,
    jobs: list[Job],
    runner: Runner = IN_THIS_PROCESS,
    *,
    on_pairs: Callable[[int], None] | None = None,
    resume: Resume | None = None,
) -> int:
    """Run jobs and fold them into the state; returns the number of pairs computed (after a resume, fewer than all).

    Parameters
    ----------
    on_pairs : callable, optional
        Called with the number of pairs done since the last call.
    """
    tell = on_pairs or (lambda pairs: None)
    done = set() if resume is None else load_checkpoint(resume.file, resume.key, work.state, work.near)
    tell(sum(job_pairs(jobs[number], work.blocks) for number in done))
    todo = [number for number in range(len(jobs)) if number not in done]
    last_save = time.monotonic()
    run = _run_here if runner.pool is None else _run_on_pool
    for number in run(work, jobs, todo, runner, tell):
        done.add(number)
        if resume and time.monotonic() - last_save > CHECKPOINT_SECONDS and len(done) < len(jobs):
            save_checkpoint(resume.file, resume.key, work.state, work.near, done)
            last_save = time.monotonic()
    return sum(job_pairs(jobs[number], work.blocks) for number in todo)


def all_pairs(
    rows: Rows,
    spec: PassSpec,
    plan: Plan,
    runner: Runner = IN_THIS_PROCESS,
    *,
    on_pairs: Callable[[int], None] | None = None,
    resume: Resume | None = None,
) -> PassResult:
    """Process every unordered pair of n rows once; the result is independent of plan and runner.

    Parameters
    ----------
    rows : Rows
    spec : PassSpec
        What to collect.
    plan : Plan
        From `plan.plan_pass`; its tile size replaces the runner's.
    runner : Runner
        Threads, device or pool.
    on_pairs, resume
        See `run_jobs`.
    """
    n = rows.n
    runner = runner._replace(edge=plan.edge)
    blocks = cut(np.arange(n, dtype=np.int32), plan.block)
    sketches = sketches_of(rows, n, plan, runner)
    work = Pass(rows, blocks, blocks, empty(n, spec.k), NearPairs(spec.near_limit), sketches)
    jobs = triangle_jobs(range(len(blocks)), spec)
    resume = None if resume is None else resume.of(f"all n={n} block={plan.block} {spec}")
    pairs = run_jobs(work, jobs, runner, on_pairs=on_pairs, resume=resume)
    return PassResult(finalize(work.state), work.near, pairs, sketches)


def sketchable(plan: Plan, device: str) -> bool:
    """Whether a pass can use sketches: on CPUs only, and if they fit in memory."""
    return plan.sketches and device == "cpu"


def sketches_of(rows: Rows, least: int, plan: Plan, runner: Runner, keep: bool = True) -> Sketches | None:
    """Start sketches of these rows, `least` of which are compared with all.

    None if they would not speed up the pass or do not fit in memory, and on a GPU.
    """
    if not sketchable(plan, runner.device):
        return None
    return begin_sketches(lambda index: load_block(rows, index, runner.threads), rows.n, rows.features, least, keep)


def _run_on_pool(
    work: Pass, jobs: list[Job], todo: list[int], runner: Runner, tell: Callable[[int], None]
) -> Iterator[int]:
    """Run jobs on the pool; yields each job's number when it is done."""
    assert runner.pool is not None

    def side(block: int, spec: PassSpec, asked: bool) -> JobSide:
        bound = work.state.knn_d2[work.places[block], 0] if spec.k and asked else None
        return JobSide(work.blocks[block], bound, work.sketch(block))

    # arguments are built lazily as workers become free, so that each job starts with the latest bounds
    arguments = (
        JobArguments(
            number,
            work.rows,
            side(job.a, job.spec, True),
            None if job.a == job.b else side(job.b, job.spec, job.both),
            job.both,
            job.spec,
            None if work.sketches is None else work.sketches.basis,
            runner.edge,
        )
        for number in todo
        for job in [jobs[number]]
    )
    for number, result in runner.pool(arguments):
        job = jobs[number]
        for block, found in ((job.a, result.found_a), (job.b, result.found_b)):
            if found is not None:
                part = work.part(block, job.spec)
                merge(part, found)
                work.put_back(block, part)
        for block, sketch in ((job.a, result.sketch_a), (job.b, result.sketch_b)):
            if sketch is not None and work.sketches is not None:
                work.sketches.put(work.blocks[block], sketch)
        work.near.add(*result.near, count=result.near_count)
        tell(job_pairs(job, work.blocks))
        yield number


def _load(work: Pass, block: int, job: Job, runner: Runner) -> Block:
    """Load a block for a job."""
    if job.a == job.b or block != job.b:
        return first_block(work.rows, work.blocks[block], runner)
    return second_block(work.rows, work.blocks[job.a], work.blocks[block], work.sketch(block), runner)


def _run_here(
    work: Pass, jobs: list[Job], todo: list[int], runner: Runner, tell: Callable[[int], None]
) -> Iterator[int]:
    """Run jobs in this process, prefetching the next block; yields each job's number when it is done."""
    held: dict[int, Block] = {}

    def side(block: int, spec: PassSpec, asked: bool) -> Side:
        sketch = None if work.sketches is None else work.sketches.of(held[block], runner.threads)
        return Side(held[block], work.part(block, spec) if asked else None, sketch)

    def drop_all_but(needed: set[int]) -> None:
        for block in held.keys() - needed:
            del held[block]

    with ThreadPoolExecutor(1, "read") as reader:
        for position, number in enumerate(todo):
            job = jobs[number]
            following = jobs[todo[position + 1]] if position + 1 < len(todo) else job
            for block in {job.a, job.b} - held.keys():
                held[block] = _load(work, block, job, runner)
            drop_all_but({job.a, job.b, following.a, following.b})
            ahead: dict[int, Future[Block]] = {}
            for block in sorted({following.a, following.b} - held.keys())[:1]:
                ahead[block] = reader.submit(_load, work, block, following, runner._replace(threads=1))
            a = side(job.a, job.spec, True)
            b = None if job.a == job.b else side(job.b, job.spec, job.both)
            run_on(a, b, job.spec, work.near, runner, tell)
            work.put_back(job.a, a.state)
            if b is not None:
                work.put_back(job.b, b.state)
            drop_all_but({following.a, following.b})
            held |= {block: read.result() for block, read in ahead.items()}
            yield number
