"""The stages of an audit, in order: each reads files of the run's work folder, calls the library, writes files, returns a small record.

    scan -> decode -> distances -> measure -> find -> check -> report

`audit.run_stages` composes them; they know neither Prefect nor Dask, only `Tools`. A stage's files are whole or absent,
and what is expensive (shards, passes) is addressed by content: a stage that runs again does only what is missing.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dataprops import distinct, knowledge, shards
from dataprops.dimension import GEOMLE_NEIGHBOURS, estimate_all, local_dimension
from dataprops.distances.allpairs import Rows, all_pairs
from dataprops.distances.incremental import update
from dataprops.distances.kernel import EMPTY
from dataprops.distances.passes import PassSpec
from dataprops.distances.plan import plan_pass
from dataprops.errors import DatapropsError
from dataprops.images import Preprocess, default_channels
from dataprops.rowsfile import open_rows, save_rows
from dataprops.sharpness import draw_samples, sharpness_summary
from dataprops.sources import OpenSource, SourceOptions, open_source
from dataprops.sources.labels import label_values
from dataprops.store import Run, write_table, write_text
from dataprops.tools import Tools

log = logging.getLogger(__name__)

SUBSETS = (500, 1000, 2500, 5000)  # sizes at which the dimension is also estimated, so that sets compare at equal N
SHARPEST_PAIRS = 50
JOBS_PER_WORKER = 4  # so that a pass shows progress and no worker waits long for the last one


@dataclass(frozen=True)
class Scanned:
    """What `scan` saw."""

    n_images: int
    label_kind: str
    classes: tuple[str, ...]
    ignored: int


@dataclass(frozen=True)
class Decoded:
    """What `decode` made."""

    n_readable: int
    n_unreadable: int
    n_decoded: int
    preprocess: Preprocess


@dataclass(frozen=True)
class Passed:
    """What `distances` computed."""

    n_rows: int
    features: int
    pairs: int
    pairs_in_full: int
    near_pairs: int
    planned_bytes: int


def source_of(run: Run) -> OpenSource:
    """The run's source, opened."""
    config = run.config
    options = SourceOptions(
        path_column=config.path_column,
        label_column=config.label_column,
        split_column=config.split_column,
        group_column=config.group_column,
        group_pattern=config.group_pattern,
    )
    return open_source(config.source, options)


def scan(run: Run, tools: Tools) -> Scanned:
    """List the images of the source, with labels, splits and groups. Decodes nothing."""
    source = source_of(run)
    table = source.scan()
    kind, y, classes = label_values(table["label"].tolist(), run.config.labels, table["path"].tolist())
    table = table.assign(image=np.arange(len(table), dtype=np.int64), y=y)
    ignored = len(table.attrs.get("ignored", ()))
    if ignored:
        log.info("%d files are no images and were left out (first: %s)", ignored, table.attrs["ignored"][0])
    write_table(run.work / "scan.parquet", table)
    return Scanned(len(table), kind, tuple(classes), ignored)


def decode(run: Run, tools: Tools) -> Decoded:
    """Read every image, and decode those that no shard holds yet."""
    source = source_of(run)
    table = pd.read_parquet(run.work / "scan.parquet")
    with tools.progress("reading files", len(table), "images") as advance:
        prints = shards.fingerprints(source, table, run.shards / "files" / f"{run.config.dataset}.parquet", advance)
    table = pd.concat([table, prints], axis=1)
    preprocess = Preprocess(run.config.size, _channels(run, source, table), run.config.scale)
    folder = run.shards / preprocess.key
    batches = shards.plan_batches(folder, table, preprocess)
    missing = sum(len(batch.keys) for batch in batches)
    with tools.progress("decoding", missing, "images") as advance:
        arguments = ((source, batch, preprocess, str(folder)) for batch in batches)
        for done in tools.map(shards.decode_batch, arguments):
            advance(done.n_images)
    images = shards.open_shards(folder).describe(table)
    write_table(run.work / "images.parquet", images)
    unreadable = int(images["pixels"].isna().sum())
    return Decoded(len(images) - unreadable, unreadable, missing, preprocess)
