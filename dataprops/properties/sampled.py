"""Estimates at a random sample of the images of a large set, each compared with all, for estimators that need many neighbours per
image but not all images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import numpy as np

from dataprops.distances.allpairs import Watch
from dataprops.distances.anchors import anchor_pairs, anchor_pass
from dataprops.distances.kernel import EMPTY
from dataprops.distances.plan import Resources, plan_pass
from dataprops.distances.rows import Rows
from dataprops.distances.runner import Runner
from dataprops.distances.sketches import Sketches
from dataprops.distances.state import PassSpec
from dataprops.properties.dimension import Estimate
from dataprops.properties.estimators import Neighbours, estimate, from_samples, generator

# show(pairs): context manager for a progress display; its value is called with the number of pairs done
Show = Callable[[int], AbstractContextManager[Callable[[int], None]]]


class Asked(NamedTuple):
    """Options of the estimates: k, seed, memory limit of a pass in bytes (None: see `plan_pass`), and range of the pixels
    (`Neighbours.full_range`)."""

    k: int
    seed: int
    memory: int | None = None
    full_range: float = 255.0


def sampled_estimates(
    rows: Rows,
    groups: Sequence[str],
    asked: Asked,
    runner: Runner,
    show: Show,
    sketches: Sketches | None = None,
) -> dict[str, Estimate]:
    """Estimates of these groups from a sample of the distinct images (primary rows), in sets larger than the sample.

    Parameters
    ----------
    rows : Rows
    groups : sequence of str
        Values of ``--estimators``.
    asked : Asked
    runner : Runner
    show : callable
        show(pairs): context manager for a progress display.
    sketches : Sketches, optional
        Sketches of the rows, from the pass over all pairs.
    """
    primary = np.nonzero(rows.primary)[0].astype(np.int32)
    n = len(primary)
    number = np.full(rows.n + 1, -1, np.int64)
    number[primary] = np.arange(n)
    out: dict[str, Estimate] = {}
    for row in from_samples(groups, n):
        rng = generator(asked.seed, f"images for {row.name}")
        chosen = primary[np.sort(rng.choice(n, row.points, replace=False))]
        spec = PassSpec(max(asked.k, row.collected), sharp=False)
        resources = Resources(asked.memory, runner.threads, device=runner.device)
        plan = plan_pass(rows.n, rows.features, spec.k, resources, anchors=len(chosen))
        with show(anchor_pairs(len(chosen), rows.n)) as advance:
            state = anchor_pass(rows, chosen, spec, plan, runner, Watch(on_pairs=advance), sketches).state
        index = number[np.where(state.knn_index == EMPTY, rows.n, state.knn_index)]
        rng = generator(asked.seed, row.name)
        seen = Neighbours(np.sqrt(state.knn_d2), index, rows.features, asked.k, asked.full_range, asked.seed, rng, n)
        found = estimate(row, seen)
        note = f"at a random sample of {len(chosen):,} of {n:,} distinct images"
        out[row.name] = found._replace(note=found.note or note)
    return out
