"""Passes over pairs of rows of any number: jobs, one after the other in this process or on a pool of workers.

The rows come from anything that can read some of them (memory-mapped shards, an array). While one job is computed the
next block is read. From time to time the state is checkpointed, so that a killed pass goes on where it stood.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch

from dataprops.distances.checkpoint import load_checkpoint, save_checkpoint
from dataprops.distances.folds import Block, shift_into
from dataprops.distances.passes import run_unit
from dataprops.distances.plan import READ_BYTES, Job, Plan, cut, job_pairs, triangle_jobs
from dataprops.distances.sketch import Basis, Sketch, make_sketch
from dataprops.distances.sketches import Sketches, begin_sketches
from dataprops.distances.state import Found, NearPairs, PassSpec, State, empty, finalize, found_in, merge, run_of

CHECKPOINT_SECONDS = 20.0
FEW = 1 / 8  # of a block's rows: so few others need not all of its pixels


class RowReader(Protocol):
    """Reads rows by number: uint8 [len(rows), D]. Must be picklable to travel to workers, and thread-safe."""

    def __call__(self, rows: np.ndarray, /) -> np.ndarray: ...


class ArrayReader(NamedTuple):
    """A `RowReader` over an array."""

    pixels: np.ndarray

    def __call__(self, rows: np.ndarray, /) -> np.ndarray:
        return self.pixels[run_of(rows)]


class Rows(NamedTuple):
    """The rows of a pass.

    Attributes
    ----------
    read : RowReader
    features : int
        D.
    y : float64 [n]
        Labels (class codes or numbers), NaN = unlabelled.
    primary : bool [n]
        One row for each distinct image is primary: only primary rows stand in neighbour lists.
    """

    read: RowReader
    features: int
    y: np.ndarray
    primary: np.ndarray

    @property
    def n(self) -> int:
        return len(self.y)


def array_rows(pixels: np.ndarray, y: np.ndarray | None = None, primary: np.ndarray | None = None) -> Rows:
    """Rows of an array in memory, uint8 [n, D]."""
    n = len(pixels)
    return Rows(
        ArrayReader(pixels),
        pixels.shape[1],
        np.full(n, np.nan) if y is None else np.asarray(y, np.float64),
        np.ones(n, bool) if primary is None else primary,
    )


class SubsetReader(NamedTuple):
    """A `RowReader` over some rows of another."""

    read: RowReader
    chosen: np.ndarray

    def __call__(self, rows: np.ndarray, /) -> np.ndarray:
        return self.read(self.chosen[rows])


def subset(rows: Rows, chosen: np.ndarray) -> Rows:
    """Some rows, as rows 0..len(chosen)-1 of their own; each of them may be a neighbour."""
    return Rows(SubsetReader(rows.read, chosen), rows.features, rows.y[chosen], np.ones(len(chosen), bool))


class PassResult(NamedTuple):
    """Finalized state of all rows, the near pairs, the number of pairs that were computed for it, and the rows' sketches."""

    state: State
    near: NearPairs
    pairs: int
    sketches: Sketches | None = None


class JobResult(NamedTuple):
    """What one job found for its blocks (found_b None if only block a was asked for), and the sketches that it had to make."""

    found_a: Found
    found_b: Found | None
    near: tuple[np.ndarray, np.ndarray, np.ndarray]
    near_count: int
    sketch_a: Sketch | None
    sketch_b: Sketch | None


class JobArguments(NamedTuple):
    """All that a worker needs for one job.

    Bounds are upper bounds of the rows' k-th squared distances, sketches those of the rows, if known; without a basis there are
    no sketches.
    """

    number: int
    rows: Rows
    index_a: np.ndarray
    index_b: np.ndarray | None
    both: bool
    spec: PassSpec
    bound_a: np.ndarray | None
    bound_b: np.ndarray | None
    basis: Basis | None
    sketch_a: Sketch | None
    sketch_b: Sketch | None
    edge: int


# A pool computes `compute_job` for the arguments it is given, in any order and place; it takes them one by one, when a worker is
# free for the next, and yields (number, result) as results come.
UnitPool = Callable[[Iterable[JobArguments]], Iterator[tuple[int, JobResult]]]


def load_block(rows: Rows, index: np.ndarray, threads: int = 1) -> Block:
    """Read and shift the rows with these numbers."""
    index = np.asarray(index, np.int32)
    shifted, norm = _read_shifted(rows, index, threads)
    return Block(shifted, norm, rows.y[index], index, rows.primary[index])


def unread_block(rows: Rows, index: np.ndarray, norm: np.ndarray) -> Block:
    """The rows with these numbers and squared norms, whose pixels are read when they are asked for."""

    def later(positions: np.ndarray) -> torch.Tensor:
        return _read_shifted(rows, index[positions], threads=1)[0]

    nothing = torch.empty((0, rows.features), dtype=torch.int8)
    return Block(nothing, norm, rows.y[index], index, rows.primary[index], later)


def _read_shifted(rows: Rows, index: np.ndarray, threads: int) -> tuple[torch.Tensor, np.ndarray]:
    """Shifted rows and their squared norms; a few at a time, so that pixels are never in memory twice as a whole."""
    # numpy's memory comes in huge pages: touching fresh memory page by page would cost as much as shifting
    shifted = np.empty((len(index), rows.features), np.int8)
    norm = np.empty(len(index))

    def load(start: int) -> None:
        part = slice(start, start + step)
        shift_into(rows.read(index[part]), shifted[part], norm[part])

    step = max(1, min(READ_BYTES // max(1, rows.features), -(-len(index) // threads)))
    starts = range(0, len(index), step)
    if threads > 1 and len(starts) > 1:
        with ThreadPoolExecutor(threads, "load") as pool:
            list(pool.map(load, starts))
    else:
        for start in starts:
            load(start)
    return torch.from_numpy(shifted), norm


def _second_block(
    rows: Rows, index_a: np.ndarray, index_b: np.ndarray, sketch_b: Sketch | None, edge: int, threads: int
) -> Block:
    """Block b of a job. Where it is known by sketches and meets few rows, only those of its rows are read that pairs are chosen
    of; few rows stand in one row of tiles, so that hardly any is asked for twice."""
    if sketch_b is None or len(index_a) > min(edge, FEW * len(index_b)):
        return load_block(rows, index_b, threads)
    return unread_block(rows, index_b, sketch_b.pixel_norm)


def run_on(
    device: str,
    a: Block,
    b: Block | None,
    state_a: State,
    state_b: State | None,
    spec: PassSpec,
    near: NearPairs,
    *,
    threads: int,
    edge: int,
    on_pairs: Callable[[int], None] | None = None,
    sketch_a: Sketch | None = None,
    sketch_b: Sketch | None = None,
) -> None:
    """`passes.run_unit` on this device."""
    if device == "cpu":
        sketches = {"sketch_a": sketch_a, "sketch_b": sketch_b}
        run_unit(a, b, state_a, state_b, spec, near, threads=threads, edge=edge, on_pairs=on_pairs, **sketches)
    else:
        from dataprops.distances.gpu import run_unit_on_device

        run_unit_on_device(a, b, state_a, state_b, spec, near, device=device, on_pairs=on_pairs)


def compute_job(job: JobArguments, threads: int, device: str = "cpu") -> JobResult:
    """One job from nothing: what a worker runs."""
    spec = job.spec
    a = load_block(job.rows, job.index_a, threads)
    b = None
    if job.index_b is not None:
        b = _second_block(job.rows, job.index_a, job.index_b, job.sketch_b, job.edge, threads)
    state_a = empty(a.n, spec.k, job.bound_a)
    state_b = None if b is None or not job.both else empty(b.n, spec.k, job.bound_b)
    near = NearPairs(spec.near_limit)

    def sketch_of(block: Block | None, given: Sketch | None) -> Sketch | None:
        if given is not None or block is None or job.basis is None:
            return given
        return make_sketch(job.basis, block.shifted, block.norm, threads)

    sketch_a, sketch_b = sketch_of(a, job.sketch_a), sketch_of(b, job.sketch_b)
    edge = job.edge
    run_on(device, a, b, state_a, state_b, spec, near, threads=threads, edge=edge, sketch_a=sketch_a, sketch_b=sketch_b)
    return JobResult(
        found_in(state_a),
        None if state_b is None else found_in(state_b),
        near.arrays(),
        near.count,
        sketch_a if job.sketch_a is None else None,
        sketch_b if job.sketch_b is None else None,
    )


def run_jobs(
    rows: Rows,
    jobs: list[Job],
    blocks: list[np.ndarray],
    state: State,
    near: NearPairs,
    *,
    edge: int,
    threads: int = 1,
    device: str = "cpu",
    pool: UnitPool | None = None,
    on_pairs: Callable[[int], None] | None = None,
    checkpoint: Path | None = None,
    key: str = "",
    places: list[np.ndarray] | None = None,
    sketches: Sketches | None = None,
) -> int:
    """Fold jobs into the state of the rows; returns the number of pairs computed (less than all after a resume).

    Parameters
    ----------
    blocks : list of int32 arrays
        Ascending row numbers; jobs name blocks by position.
    state, near
        Updated in place (or from the checkpoint).
    pool : callable, optional
        Computes the jobs elsewhere; see `UnitPool`.
    on_pairs : callable, optional
        Told how many pairs were done since the last call.
    checkpoint : Path, optional
        File that the state is written to from time to time and resumed from, if it was written under this `key`.
    places : list of int arrays, optional
        Where the rows of each block stand in `state`; default: row i at i. Blocks beyond this list have no state.
    sketches : Sketches, optional
        Of the rows: used, and completed in place.
    """
    places = blocks if places is None else places
    tell = on_pairs or (lambda pairs: None)
    done = load_checkpoint(checkpoint, key, state, near) if checkpoint else set()
    tell(sum(job_pairs(jobs[number], blocks) for number in done))
    todo = [number for number in range(len(jobs)) if number not in done]
    last_save = time.monotonic()
    if pool is None:
        finished = _run_here(rows, jobs, todo, blocks, places, state, near, edge, threads, device, tell, sketches)
    else:
        finished = _run_on_pool(rows, jobs, todo, blocks, places, state, near, edge, pool, tell, sketches)
    for number in finished:
        done.add(number)
        if checkpoint and time.monotonic() - last_save > CHECKPOINT_SECONDS and len(done) < len(jobs):
            save_checkpoint(checkpoint, key, state, near, done)
            last_save = time.monotonic()
    return sum(job_pairs(jobs[number], blocks) for number in todo)


def all_pairs(
    rows: Rows,
    spec: PassSpec,
    plan: Plan,
    *,
    threads: int = 1,
    device: str = "cpu",
    pool: UnitPool | None = None,
    on_pairs: Callable[[int], None] | None = None,
    checkpoint: Path | None = None,
    key: str = "",
) -> PassResult:
    """Fold every unordered pair of n rows once; the cuts of `plan` never change the result. See `run_jobs`."""
    n = rows.n
    state, near = empty(n, spec.k), NearPairs(spec.near_limit)
    sketches = sketches_of(rows, n, plan, threads, device)
    blocks = cut(np.arange(n, dtype=np.int32), plan.block)
    jobs = triangle_jobs(range(len(blocks)), spec)
    pairs = run_jobs(
        rows,
        jobs,
        blocks,
        state,
        near,
        edge=plan.edge,
        threads=threads,
        device=device,
        pool=pool,
        on_pairs=on_pairs,
        checkpoint=checkpoint,
        key=f"{key} all n={n} block={plan.block} {spec}",
        sketches=sketches,
    )
    return PassResult(finalize(state), near, pairs, sketches)


def sketchable(plan: Plan, device: str) -> bool:
    """Whether a pass may use sketches: they have room, and are for CPUs."""
    return plan.sketches and device == "cpu"


def sketches_of(rows: Rows, least: int, plan: Plan, threads: int, device: str, keep: bool = True) -> Sketches | None:
    """A basis for these rows, `least` of which are compared with all.

    None where sketches do not pay or have no room, and on a GPU.
    """
    if not sketchable(plan, device):
        return None
    return begin_sketches(lambda index: load_block(rows, index, threads), rows.n, rows.features, least, keep)


def _select(state: State, index: np.ndarray, spec: PassSpec) -> State:
    """Some rows of a state, as the job's spec sees them: views where the rows are contiguous, else copies."""
    part = state.part(run_of(index))
    return part if spec.k else part._replace(knn_d2=part.knn_d2[:, :0], knn_index=part.knn_index[:, :0])


def _put_back(state: State, index: np.ndarray, part: State) -> None:
    """Write the rows of `_select` back, unless they are views."""
    for whole, some in zip(state, part, strict=True):
        if some.size and not np.shares_memory(whole, some):
            whole[index] = some


def _run_on_pool(
    rows: Rows,
    jobs: list[Job],
    todo: list[int],
    blocks: list[np.ndarray],
    places: list[np.ndarray],
    state: State,
    near: NearPairs,
    edge: int,
    pool: UnitPool,
    tell: Callable[[int], None],
    sketches: Sketches | None,
) -> Iterator[int]:
    def bound(block: int, spec: PassSpec) -> np.ndarray | None:
        return state.knn_d2[places[block], 0] if spec.k else None

    def sketched(block: int) -> Sketch | None:
        return None if sketches is None else sketches.part(blocks[block])

    # made one by one as workers become free, so that each job starts with the bounds known by then
    arguments = (
        JobArguments(
            number,
            rows,
            blocks[job.a],
            None if job.a == job.b else blocks[job.b],
            job.both,
            job.spec,
            bound(job.a, job.spec),
            bound(job.b, job.spec) if job.both else None,
            None if sketches is None else sketches.basis,
            sketched(job.a),
            None if job.a == job.b else sketched(job.b),
            edge,
        )
        for number in todo
        for job in [jobs[number]]
    )
    for number, result in pool(arguments):
        job = jobs[number]
        for block, found in ((job.a, result.found_a), (job.b, result.found_b)):
            if found is not None:
                part = _select(state, places[block], job.spec)
                merge(part, found)
                _put_back(state, places[block], part)
        for block, sketch in ((job.a, result.sketch_a), (job.b, result.sketch_b)):
            if sketch is not None and sketches is not None:
                sketches.put(blocks[block], sketch)
        near.add(*result.near, count=result.near_count)
        tell(job_pairs(job, blocks))
        yield number


def _run_here(
    rows: Rows,
    jobs: list[Job],
    todo: list[int],
    blocks: list[np.ndarray],
    places: list[np.ndarray],
    state: State,
    near: NearPairs,
    edge: int,
    threads: int,
    device: str,
    tell: Callable[[int], None],
    sketches: Sketches | None,
) -> Iterator[int]:
    held: dict[int, Block] = {}

    def load(block: int, job: Job, threads: int) -> Block:
        if job.a == job.b or block != job.b:
            return load_block(rows, blocks[block], threads)
        sketch = None if sketches is None else sketches.part(blocks[block])
        return _second_block(rows, blocks[job.a], blocks[block], sketch, edge, threads)

    with ThreadPoolExecutor(1, "read") as reader:
        for position, number in enumerate(todo):
            job = jobs[number]
            following = jobs[todo[position + 1]] if position + 1 < len(todo) else job
            for block in {job.a, job.b} - held.keys():
                held[block] = load(block, job, threads)
            for block in held.keys() - {job.a, job.b, following.a, following.b}:
                del held[block]
            next_block = min({following.a, following.b} - held.keys(), default=None)
            ahead = None if next_block is None else reader.submit(load, next_block, following, 1)
            within = job.a == job.b
            part_a = _select(state, places[job.a], job.spec)
            part_b = None if within or not job.both else _select(state, places[job.b], job.spec)
            run_on(
                device,
                held[job.a],
                None if within else held[job.b],
                part_a,
                part_b,
                job.spec,
                near,
                threads=threads,
                edge=edge,
                on_pairs=tell,
                sketch_a=None if sketches is None else sketches.of(held[job.a], threads),
                sketch_b=None if sketches is None or within else sketches.of(held[job.b], threads),
            )
            _put_back(state, places[job.a], part_a)
            if part_b is not None:
                _put_back(state, places[job.b], part_b)
            for block in held.keys() - {following.a, following.b}:
                del held[block]
            if ahead is not None and next_block is not None:
                held[next_block] = ahead.result()
            yield number
