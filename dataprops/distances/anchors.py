"""A random sample of images against all, for sets too large for all pairs.

With A anchors the cost is A N D instead of N^2 D / 2; each anchor's neighbours and sharpest pair are exact over all N. Means over the
anchors estimate means over the set, with an interval from the A values; the maximum over the set is only bounded from below.
"""

from __future__ import annotations

import numpy as np

from dataprops.distances.allpairs import (
    IN_THIS_PROCESS,
    UNWATCHED,
    Pass,
    PassResult,
    Watch,
    run_jobs,
    sketchable,
    sketches_of,
)
from dataprops.distances.plan import Job, Plan, cut, triangle_jobs
from dataprops.distances.rows import Rows
from dataprops.distances.runner import Runner
from dataprops.distances.sketches import Sketches
from dataprops.distances.state import NearPairs, PassSpec, empty, finalize


def choose_anchors(primary: np.ndarray, anchors: int, seed: int) -> np.ndarray:
    """A simple random sample of the distinct images, ascending int32 [min(anchors, number of distinct images)]."""
    contents = np.nonzero(primary)[0].astype(np.int32)
    if anchors >= len(contents):
        return contents
    return np.sort(np.random.default_rng([seed, anchors]).choice(contents, anchors, replace=False))


def anchor_pairs(anchors: int, n: int) -> int:
    """Number of pairs with at least one anchor."""
    return anchors * (anchors - 1) // 2 + anchors * (n - anchors)


def anchor_pass(
    rows: Rows,
    anchors: np.ndarray,
    spec: PassSpec,
    plan: Plan,
    runner: Runner = IN_THIS_PROCESS,
    watch: Watch = UNWATCHED,
    sketches: Sketches | None = None,
) -> PassResult:
    """All pairs with at least one anchor; the state has rows for the anchors only. See `allpairs.all_pairs`.

    Parameters
    ----------
    anchors : int32 [A]
        Ascending row numbers.
    sketches : Sketches, optional
        Sketches of the rows, if known.
    """
    count = len(anchors)
    runner = runner._replace(edge=plan.edge)
    rest = np.setdiff1d(np.arange(rows.n, dtype=np.int32), anchors)
    ours, others = cut(anchors, plan.block), cut(rest, plan.block)
    numbers = range(len(ours))
    jobs = triangle_jobs(numbers, spec)
    jobs += [Job(a, len(ours) + b, False, spec) for a in numbers for b in range(len(others))]
    watch.plan(anchor_pairs(count, rows.n))
    if sketches is None or not sketchable(plan, runner.device):
        sketches = sketches_of(rows, count, plan, runner, keep=False)
    places = cut(np.arange(count), plan.block)
    work = Pass(rows, ours + others, places, empty(count, spec.k), NearPairs(spec.near_limit), sketches)
    resume = None
    if watch.resume is not None:
        resume = watch.resume.of(f"anchors={count} n={rows.n} block={plan.block} {spec}")
    pairs = run_jobs(work, jobs, runner, on_pairs=watch.on_pairs, resume=resume)
    return PassResult(finalize(work.state), work.near, pairs)
