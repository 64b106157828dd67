"""Stage 4: dimension and sharpness of the dataset, and per-image values."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dataprops.audit.records import Measured
from dataprops.audit.stages.distances import estimators_of
from dataprops.audit.workspace import Run
from dataprops.distances.anchors import choose_anchors
from dataprops.distances.runner import Runner
from dataprops.errors import DatapropsError
from dataprops.findings.blank import is_blank
from dataprops.properties import distinct
from dataprops.properties.estimators import estimate_all, from_samples
from dataprops.properties.sampled import Asked, sampled_estimates
from dataprops.properties.sharpness import sharpness_summary
from dataprops.properties.tables import (
    Drawing,
    contents_only,
    image_values,
    pairs_table,
    properties_table,
    sampled_sharpness,
    sharpest_pairs,
    subset_estimates,
    with_words_on_labels,
)
from dataprops.store.pass_cache import load_known
from dataprops.store.rows import open_rows
from dataprops.util.tools import Tools


def measure(run: Run, tools: Tools) -> Measured:
    """Estimate dimension and sharpness of the dataset, and per-image values."""
    config, files = run.config, run.files
    scanned, passed = files.scanned.read(), files.passed.read()
    images = files.files.read()
    rows = distinct.distinct_rows(images)
    known = load_known(files.pass_state, scanned.classes)
    if known is None:
        raise DatapropsError(f"the work folder {run.work} is damaged: repeat the audit")
    state = known.state
    everything = open_rows(str(files.rows))

    primary = np.nonzero(rows.primary)[0]
    anchors = None if passed.anchors is None else choose_anchors(rows.primary, passed.anchors, config.seed)
    distance, neighbour = contents_only(state, rows, anchors)
    wanted = estimators_of(run)
    apart = {row.group for row in from_samples(wanted, len(primary))}
    together = [group for group in wanted if group not in apart]
    estimates = estimate_all(distance, neighbour, passed.features, config.k, config.seed, together, full_range=255.0)
    pool = tools.job_pool(str(files.rows)) if tools.job_pool else None
    runner = Runner(tools.threads, tools.pool_device or tools.device, pool)
    asked = Asked(config.k, config.seed, config.memory)
    estimates |= sampled_estimates(
        everything,
        wanted,
        asked,
        runner,
        lambda pairs: tools.progress("neighbours of a sample", pairs, "pairs"),
        known.sketches,
    )
    subsets = []
    if "mle" in config.estimators:
        subsets = subset_estimates(tools, everything, primary, k=config.k, seed=config.seed, memory=config.memory)
    sharp = np.sqrt(state.sharp[rows.row] if anchors is None else state.sharp)
    summary = sharpness_summary(np.where(sharp > 0, sharp, np.nan), sampled=anchors is not None)
    whole = state if anchors is None else None
    numeric = scanned.label_kind == "numbers"
    drawn = Drawing(config.sample, config.draws, config.seed)
    draws = sampled_sharpness(tools, everything, rows, whole, drawn, numeric=numeric, memory=config.memory)

    properties = properties_table(estimates, subsets, summary, draws, len(rows.images), config.sample, passed.anchors)
    properties = with_words_on_labels(properties, rows, is_blank(images)[rows.images])
    files.properties.write(properties)
    table, neighbours = image_values(images, rows, state, config.k, anchors)
    files.images.write(table)
    files.neighbours.write(neighbours)
    sharpest = sharpest_pairs(everything, rows, state, numeric=numeric, anchors=anchors)
    near = pd.DataFrame(
        {"a": rows.first[known.near_a], "b": rows.first[known.near_b], "distance": np.sqrt(known.near_d2)}
    )
    files.pairs.write(pairs_table(near, sharpest, table))
    return Measured(len(properties), sum(len(values) for values in draws.values()))
