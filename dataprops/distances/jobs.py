"""One job of a pass: all pairs of two blocks, or within one; self-contained, so that any worker can run it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dataprops.distances.folds import Block, Side
from dataprops.distances.handover import JobArguments, JobResult, JobSide
from dataprops.distances.passes import run_unit
from dataprops.distances.rows import Rows, load_block, raw_block, unread_block
from dataprops.distances.runner import Runner
from dataprops.distances.sketch import Sketch, make_sketch
from dataprops.distances.state import Found, NearPairs, PassSpec, State, empty, found_in

FEW = 1 / 8  # relative size of the other block below which pixels are read on demand


def first_block(rows: Rows, index: np.ndarray, runner: Runner) -> Block:
    """Block a of a job."""
    if runner.device != "cpu":
        return raw_block(rows, index)
    return load_block(rows, index, runner.threads)


def second_block(
    rows: Rows, index_a: np.ndarray, index_b: np.ndarray, sketch_b: Sketch | None, runner: Runner
) -> Block:
    """Block b of a job.

    If its sketches are known and block a is small, only the rows of selected pairs are read; as block a fits in one row of tiles,
    hardly any row is read twice.
    """
    if runner.device != "cpu":
        return raw_block(rows, index_b)
    if sketch_b is None or len(index_a) > min(runner.edge, FEW * len(index_b)):
        return load_block(rows, index_b, runner.threads)
    return unread_block(rows, index_b, sketch_b.pixel_norm)


def run_on(
    a: Side,
    b: Side | None,
    spec: PassSpec,
    near: NearPairs,
    runner: Runner,
    on_pairs: Callable[[int], None] | None = None,
) -> None:
    """`passes.run_unit` on the runner's device."""
    if runner.device == "cpu":
        run_unit(a, b, spec, near, runner, on_pairs)
    else:
        from dataprops.distances.gpu import run_unit_on_device

        run_unit_on_device(a, b, spec, near, runner, on_pairs)


def compute_job(job: JobArguments, threads: int, device: str = "cpu") -> JobResult:
    """Run one job; the entry point of workers."""
    spec, runner = job.spec, Runner(threads, device, edge=job.edge)
    near = NearPairs(spec.near_limit)

    def side(block: Block, given: JobSide, asked: bool) -> Side:
        sketch = given.sketch
        if sketch is None and job.basis is not None and device == "cpu":
            sketch = make_sketch(job.basis, block.shifted, block.norm, threads)
        return Side(block, empty(block.n, spec.k, given.bound) if asked else None, sketch)

    a, b = side(first_block(job.rows, job.a.number, runner), job.a, True), None
    if job.b is not None:
        b = side(second_block(job.rows, job.a.number, job.b.number, job.b.sketch, runner), job.b, job.both)
    run_on(a, b, spec, near, runner)

    def found(side: Side | None) -> Found | None:
        return None if side is None or side.state is None else found_in(side.state)

    def made(side: Side | None, given: JobSide | None) -> Sketch | None:
        return None if side is None or given is None or given.sketch is not None else side.sketch

    return JobResult(found_in(_state(a)), found(b), near.arrays(), near.count, made(a, job.a), made(b, job.b))


def _state(side: Side) -> State:
    assert side.state is not None
    return side.state
