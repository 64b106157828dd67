"""Stage 3: one pass over all pairs of distinct images."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd

from dataprops.audit.config import AuditConfig
from dataprops.audit.records import CHANGED, Passed
from dataprops.audit.workspace import Run
from dataprops.distances.allpairs import PassResult, Resume, Runner, Watch
from dataprops.distances.anchors import anchor_pass, choose_anchors
from dataprops.distances.incremental import Contents, PreviousPass, update
from dataprops.distances.plan import Plan, Resources, plan_pass
from dataprops.distances.state import PassSpec
from dataprops.errors import DatapropsError
from dataprops.properties import distinct
from dataprops.properties.estimators import groups, neighbours_needed
from dataprops.store.pass_cache import load_known, save_known
from dataprops.store.rows import RowPlaces, open_rows, save_rows
from dataprops.util.memory import measured_memory
from dataprops.util.tools import Tools

log = logging.getLogger(__name__)

JOBS_PER_WORKER = 4  # for progress display and load balancing


def distances(run: Run, tools: Tools) -> Passed:
    """Compare all pairs of distinct images, except those covered by the last audit."""
    scanned, features = run.files.scanned.read(), run.files.decoded.read().preprocess.features
    rows = _rows_of(run)
    spec = pass_spec(run.config, int(rows.primary.sum()), features, numeric=scanned.label_kind == "numbers")
    anchors = None
    if run.config.anchors is not None and run.config.anchors < rows.primary.sum():
        anchors = choose_anchors(rows.primary, run.config.anchors, run.config.seed)
    resources = Resources(
        memory=run.config.memory,
        threads=tools.threads,
        workers=tools.workers,
        jobs=1 if tools.job_pool is None else JOBS_PER_WORKER * tools.workers,
        device=tools.pool_device or tools.device,
    )
    plan = plan_pass(rows.n, features, spec.k, resources, anchors=None if anchors is None else len(anchors))
    with measured_memory() as peak:
        result = _pass(run, tools, rows, spec, plan, anchors)
    log.info("working memory of the pass: %d MiB of %d MiB projected", peak.bytes >> 20, plan.bytes >> 20)
    passed = Passed(
        rows.n,
        features,
        result.pairs,
        rows.n * (rows.n - 1) // 2,
        result.near.count,
        plan.bytes,
        peak.bytes,
        None if anchors is None else len(anchors),
    )
    return run.files.passed.write(passed)


def pass_spec(config: AuditConfig, n: int, features: int, *, numeric: bool) -> PassSpec:
    """What a pass over n distinct images collects."""
    return PassSpec(
        k=neighbours_needed(_estimators(config), config.k, n),
        numeric=numeric,
        near2=-1.0 if config.near_rms is None else near_squared(config.near_rms, features),
    )


def _rows_of(run: Run) -> distinct.Distinct:
    """The distinct images (rows of the pass); writes the location of their pixels for the workers."""
    preprocess = run.files.decoded.read().preprocess
    images = run.files.files.read()
    rows = distinct.distinct_rows(images)
    if not rows.n:
        reason = images["error"].value_counts().index[0]
        way_out = (
            "repeat the audit when no process is writing there" if reason == CHANGED else "replace or convert them"
        )
        raise DatapropsError(
            f"none of the {len(images)} images of {run.config.source} can be read: {reason}"
            f" (first: {images['path'].iloc[0]}); {way_out}"
        )
    place: pd.DataFrame = images.set_index("image").loc[rows.first]
    save_rows(
        run.files.rows,
        RowPlaces(
            run.shards / preprocess.key,
            run.files.shard_names.read(),
            place["shard"].to_numpy(),
            place["row"].to_numpy(),
        ),
        preprocess.features,
        rows.y,
        rows.primary,
    )
    return rows


def _pass(
    run: Run, tools: Tools, rows: distinct.Distinct, spec: PassSpec, plan: Plan, anchors: np.ndarray | None
) -> PassResult:
    """Run the pass; its result is saved for `measure` and for the next audit of the dataset."""
    pass_key = run.files.decoded.read().preprocess.key
    classes = run.files.scanned.read().classes
    known_path = run.states / f"{pass_key}.npz"
    key = hashlib.blake2b("\n".join([pass_key, *rows.pixels]).encode() + rows.y.tobytes(), digest_size=16).hexdigest()
    checkpoint: Path = run.states / f"{pass_key}.unfinished.npz"
    rows_path = str(run.files.rows)
    everything = open_rows(rows_path)
    with ExitStack() as shown:
        advance: list[Callable[[int], None]] = []

        def show(pairs: int) -> None:
            advance.append(shown.enter_context(tools.progress("comparing pairs", pairs, "pairs")))

        pool = tools.job_pool(rows_path) if tools.job_pool else None
        runner = Runner(tools.threads, tools.pool_device or tools.device, pool)
        watch = Watch(show, lambda pairs: advance[0](pairs), Resume(checkpoint, key))
        if anchors is None:
            contents = Contents(rows.pixels, rows.content_row)
            result = update(load_known(known_path, classes), everything, contents, spec, plan, runner, watch)
        else:
            result = anchor_pass(everything, anchors, spec, plan, runner, watch)
    near = (*result.near.arrays(), result.near.count)
    found = PreviousPass(rows.pixels, rows.y, rows.primary, result.state, *near, spec, result.sketches)
    # an anchored pass is incomplete: it cannot seed the next audit
    save_known(run.files.pass_state if anchors is not None else known_path, found, classes)
    if anchors is None:
        shutil.copyfile(known_path, run.files.pass_state)
    checkpoint.unlink(missing_ok=True)
    return result


def estimators_of(run: Run) -> tuple[str, ...]:
    """The estimator groups that this run computes."""
    return _estimators(run.config)


def _estimators(config: AuditConfig) -> tuple[str, ...]:
    possible = groups(sampled=config.anchors is not None)
    return tuple(name for name in config.estimators if name in possible)


def near_squared(rms: float, features: int) -> float:
    """Squared distance corresponding to an RMS difference of `rms` grey levels."""
    return float(rms * rms * features)
