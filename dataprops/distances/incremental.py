"""Update the result of an earlier pass after a change, computing only the affected pairs.

Rows are identified by (content, label), contents by their pixels. Starting from the old final state:

- a *fresh* content is compared with every row (new x (old + new) pairs, both directions);
- a row whose neighbour list named a removed content is *stale*: its list is recomputed against all rows, one direction;
- a content whose label alone changed keeps its neighbour list; only sharpest pairs that involve it are recomputed, and those of
  rows that named the removed (content, label).

The result is bit-equal to a full pass. Ties need care: equal distances are ordered by row number, and a change may reorder kept
rows. So only rows whose relative order is unchanged count as kept (a longest increasing subsequence of new row numbers); the few
others are treated as removed and fresh.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import NamedTuple

import numpy as np
import pandas as pd

from dataprops.distances.allpairs import (
    IN_THIS_PROCESS,
    UNWATCHED,
    Pass,
    PassResult,
    Watch,
    all_pairs,
    run_jobs,
    sketchable,
    sketches_of,
)
from dataprops.distances.kernel import EMPTY, Lists, Moves, carry_lists
from dataprops.distances.plan import Job, Plan, cut, job_pairs, triangle_jobs
from dataprops.distances.rows import Rows
from dataprops.distances.runner import Runner
from dataprops.distances.sketches import Sketches, carry_sketches
from dataprops.distances.state import NearPairs, PassSpec, State, empty, finalize

FULL_FRACTION = 0.4  # of the rows; if more are affected, a full pass is as fast


class PreviousPass(NamedTuple):
    """Result of an earlier pass.

    Attributes
    ----------
    pixels : str [n]
        Content of each row.
    y : float64 [n]
    primary : bool [n]
    state : State
        Finalized.
    near_a, near_b, near_d2 : int32, int32, float64
        Listed near pairs.
    near_count : int
        Number of all near pairs, listed or not.
    spec : PassSpec
    sketches : Sketches, optional
        Of the rows.
    """

    pixels: np.ndarray
    y: np.ndarray
    primary: np.ndarray
    state: State
    near_a: np.ndarray
    near_b: np.ndarray
    near_d2: np.ndarray
    near_count: int
    spec: PassSpec
    sketches: Sketches | None = None


class Renumbering(NamedTuple):
    """New numbers of old contents (by primary row) and of old rows; -1 where not kept."""

    content: np.ndarray
    row: np.ndarray


def increasing_run(values: np.ndarray) -> np.ndarray:
    """Mask of a longest strictly increasing subsequence, bool [n]; negative entries are never part of it."""
    kept = values >= 0
    if np.all(np.diff(values[kept]) > 0):
        return kept  # the usual case
    tails: list[int] = []
    tail_at: list[int] = []
    before = np.full(len(values), -1, np.int64)
    for position in np.nonzero(values >= 0)[0].tolist():
        value = int(values[position])
        place = bisect_left(tails, value)
        if place == len(tails):
            tails.append(value)
            tail_at.append(position)
        else:
            tails[place] = value
            tail_at[place] = position
        if place:
            before[position] = tail_at[place - 1]
    keep = np.zeros(len(values), bool)
    at = tail_at[-1] if tail_at else -1
    while at >= 0:
        keep[at] = True
        at = before[at]
    return keep


def match_rows(previous: PreviousPass, pixels: np.ndarray, y: np.ndarray, primary: np.ndarray) -> Renumbering:
    """Match old rows to new ones."""
    n_old = len(previous.pixels)
    contents, distinct = pd.factorize(np.concatenate([previous.pixels, pixels]).astype(object, copy=False))
    # labels are compared as bytes, so that unlabelled rows (NaN) are equal
    labels, _ = pd.factorize(np.concatenate([previous.y, y]).astype(np.float64).view(np.int64))
    keys, pairs = pd.factorize(contents * (labels.max(initial=0) + 1) + labels)

    def look_up(old: np.ndarray, new: np.ndarray, numbers: np.ndarray, names: int) -> np.ndarray:
        number_of = np.full(names, -1)
        number_of[new] = numbers
        found = number_of[old]
        return np.where(increasing_run(found), found, -1)

    old_primary, new_primary = np.nonzero(previous.primary)[0], np.nonzero(primary)[0]
    content = np.full(n_old, -1, np.int64)
    content[old_primary] = look_up(contents[old_primary], contents[n_old:][new_primary], new_primary, len(distinct))
    return Renumbering(content, look_up(keys[:n_old], keys[n_old:], np.arange(len(pixels)), len(pairs)))


class Carried(NamedTuple):
    """The old state in new row numbers, as heaps, and the rows to recompute.

    `fresh`: new contents; `relabelled`: rows that differ only in their label; `stale`: primary rows whose neighbour list,
    `stale_sharpest`: rows whose sharpest pair must be recomputed.
    """

    state: State
    near: tuple[np.ndarray, np.ndarray, np.ndarray]
    fresh: np.ndarray
    relabelled: np.ndarray
    stale: np.ndarray
    stale_sharpest: np.ndarray


def carry_over(previous: PreviousPass, change: Renumbering, n: int, primary: np.ndarray) -> Carried:
    """Move the old state to the new rows."""
    old = previous.state
    state = empty(n, previous.spec.k)

    kept = np.nonzero(change.content >= 0)[0]
    new = change.content[kept]
    whole = np.empty(len(kept), bool)
    moves = Moves(kept, new, change.content)
    carry_lists(Lists(old.knn_d2, old.knn_index), Lists(state.knn_d2, state.knn_index), moves, whole)
    stale = np.sort(new[~whole])
    is_kept_content = np.zeros(n, bool)
    is_kept_content[new] = True

    kept_rows = np.nonzero(change.row >= 0)[0]
    new_rows = change.row[kept_rows]
    named = old.sharp_index[kept_rows]
    moved_named = np.where(named == EMPTY, EMPTY, change.row[np.where(named == EMPTY, 0, named)])
    stands = moved_named >= 0
    for target, source in ((state.sharp, old.sharp), (state.sharp_d2, old.sharp_d2)):
        target[new_rows[stands]] = source[kept_rows[stands]]
    state.sharp_index[new_rows[stands]] = moved_named[stands]
    is_kept_row = np.zeros(n, bool)
    is_kept_row[new_rows] = True

    a, b = change.content[previous.near_a], change.content[previous.near_b]
    stay = (a >= 0) & (b >= 0)
    # rows of a kept content are never fresh; secondary rows of a fresh content count as relabelled
    fresh = np.nonzero(primary & ~is_kept_content)[0]
    is_fresh = np.zeros(n, bool)
    is_fresh[fresh] = True
    # fresh contents are recomputed as a whole: their rows cannot be carried over, even if (content, label) kept its position
    lost = is_fresh & is_kept_row
    state.sharp[lost], state.sharp_d2[lost], state.sharp_index[lost] = 0.0, 0.0, EMPTY
    relabelled = np.nonzero(~is_kept_row & ~is_fresh)[0]
    stale_sharpest = _without(new_rows[~stands], fresh)
    return Carried(state, (a[stay], b[stay], previous.near_d2[stay]), fresh, relabelled, stale, stale_sharpest)


def _without(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    """`rows` without `others`, ascending."""
    out = np.zeros(int(max(rows.max(initial=-1), others.max(initial=-1))) + 1, bool)
    out[others] = True
    return rows[~out[rows]]


def incremental_jobs(
    carried: Carried, n: int, primary: np.ndarray, spec: PassSpec, block: int
) -> tuple[list, list[Job]]:
    """Blocks and jobs that complete a carried state."""
    every = np.arange(n, dtype=np.int32)
    blocks: list[np.ndarray] = []

    def add(index: np.ndarray) -> range:
        start = len(blocks)
        blocks.extend(cut(index.astype(np.int32), block))
        return range(start, len(blocks))

    def rectangle(rows: range, columns: range, both: bool, job_spec: PassSpec) -> list[Job]:
        return [Job(a, b, both, job_spec) for a in rows for b in columns]

    labels_only = spec._replace(k=0, near2=-1.0)
    neighbours_only = spec._replace(sharp=False, near2=-1.0)
    jobs: list[Job] = []
    fresh = add(carried.fresh)
    rest = _without(every, carried.fresh)
    if len(fresh):
        # the large blocks first: the distances they give prune most of the rest
        jobs += rectangle(fresh, add(rest), True, spec) + triangle_jobs(fresh, spec)
    if len(carried.relabelled):
        relabelled = add(carried.relabelled)
        others = add(_without(rest, carried.relabelled))
        jobs += triangle_jobs(relabelled, labels_only) + rectangle(relabelled, others, True, labels_only)
    if len(carried.stale):
        jobs += rectangle(add(carried.stale), add(rest[primary[rest]]), False, neighbours_only)
    if len(carried.stale_sharpest):
        settled = _without(rest, carried.relabelled)
        jobs += rectangle(add(carried.stale_sharpest), add(settled), False, labels_only)
    return blocks, jobs


def usable(previous: PreviousPass, spec: PassSpec) -> bool:
    """Whether an earlier pass collected the same results, without truncation."""
    return previous.spec == spec and previous.near_count == len(previous.near_a)


class Contents(NamedTuple):
    """Which rows are the same image: the content id of each row, str [n], and the primary row of that content, int32 [n]."""

    names: np.ndarray
    row: np.ndarray


def update(
    previous: PreviousPass | None,
    rows: Rows,
    contents: Contents,
    spec: PassSpec,
    plan: Plan,
    runner: Runner = IN_THIS_PROCESS,
    watch: Watch = UNWATCHED,
) -> PassResult:
    """The result of a full pass over `rows`, computed incrementally from an earlier one if that is cheaper.

    Parameters
    ----------
    previous : PreviousPass or None
        The earlier pass.
    contents : Contents
        Of the rows.
    watch : Watch
        Progress callbacks and checkpoint.

    Returns
    -------
    PassResult
        Bit-equal to `all_pairs`.
    """
    n = rows.n
    started = None if previous is None or not usable(previous, spec) else _carried(previous, rows, contents)
    if previous is None or started is None:
        watch.plan(n * (n - 1) // 2)
        return all_pairs(rows, spec, plan, runner, on_pairs=watch.on_pairs, resume=watch.resume)
    change, carried = started
    sketches = None
    if previous.sketches is not None and sketchable(plan, runner.device):
        sketches = carry_sketches(previous.sketches, change.content, contents.row)
    if sketches is None and len(carried.fresh):  # later passes reuse them
        sketches = sketches_of(rows, n, plan, runner)
    blocks, jobs = incremental_jobs(carried, n, rows.primary, spec, plan.block)
    watch.plan(sum(job_pairs(job, blocks) for job in jobs))
    work = Pass(rows, blocks, blocks, carried.state, NearPairs(spec.near_limit), sketches)
    work.near.add(*carried.near)
    resume = None
    if watch.resume is not None:
        resume = watch.resume.of(f"incremental n={n} jobs={len(jobs)} block={plan.block} {spec}")
    pairs = run_jobs(work, jobs, runner._replace(edge=plan.edge), on_pairs=watch.on_pairs, resume=resume)
    final = finalize(work.state)
    # all rows of a content share one neighbour list
    final = final._replace(knn_d2=final.knn_d2[contents.row], knn_index=final.knn_index[contents.row])
    return PassResult(final, work.near, pairs, sketches)


def _carried(previous: PreviousPass, rows: Rows, contents: Contents) -> tuple[Renumbering, Carried] | None:
    """The state carried over from the earlier pass; None if a full pass is as fast."""
    change = match_rows(previous, contents.names, rows.y, rows.primary)
    carried = carry_over(previous, change, rows.n, rows.primary)
    touched = sum(len(part) for part in (carried.fresh, carried.relabelled, carried.stale, carried.stale_sharpest))
    return None if touched > FULL_FRACTION * rows.n else (change, carried)
