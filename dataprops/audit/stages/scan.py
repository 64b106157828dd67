"""Stage 1: list the images."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from dataprops.audit.config import AuditConfig
from dataprops.audit.records import Scanned
from dataprops.audit.workspace import Run
from dataprops.checks.thresholds import load_thresholds
from dataprops.options import same_fields
from dataprops.sources import OpenSource, SourceOptions, open_source
from dataprops.sources.account import Decision, left_out_of
from dataprops.sources.labels import label_values
from dataprops.store.folder import open_salt
from dataprops.util.budget import bounded
from dataprops.util.tools import Tools

log = logging.getLogger(__name__)


def source_of(run: Run) -> OpenSource:
    """The run's source, opened."""
    return open_source(run.config.source, source_options(run.config))


def source_options(config: AuditConfig) -> SourceOptions:
    """Reading options of a config's source."""
    return SourceOptions(**same_fields(config, SourceOptions), salt=open_salt(Path(config.store)))


def scan(run: Run, tools: Tools) -> Scanned:
    """List the images of the source, with labels, splits and groups. Decodes nothing."""
    load_thresholds(run.config.thresholds)  # fail early if the file is invalid
    with bounded(run.config.memory):
        table = source_of(run).scan()
    if run.config.features or run.config.model:
        from dataprops.audit.feature_space import check_features  # imports torch

        check_features(run.config, table)
    kind, y, classes = label_values(table["label"].tolist(), run.config.labels, table["path"].tolist())
    left_out, empty = left_out_of(table), table.attrs.get("empty_classes", ())
    decisions = tuple(table.attrs.get("decisions", ()))
    if left_out:
        log.info("%d files were left out (first: %s, %s)", len(left_out), *left_out[0])
    tell(decisions)
    names, reasons = zip(*left_out, strict=True) if left_out else ((), ())
    extra = {name: table.attrs[name] for name in ("spellings", "several", "unused_columns") if table.attrs.get(name)}
    # keys may contain bytes that are not UTF-8
    keys = pd.Series([os.fsencode(key) for key in table["key"]], dtype=object)
    run.files.listing.write(table.assign(image=np.arange(len(table), dtype=np.int64), y=y, key=keys))
    if described := table.attrs.get("described"):
        said = {name: [values.get(key) for key in table["key"]] for name, values in described.items()}
        run.files.described.write(pd.DataFrame(said, dtype=object))
    return run.files.scanned.write(
        Scanned(len(table), kind, tuple(classes), names, tuple(empty), reasons, decisions, **extra)
    )


def tell(decisions: Iterable[Mapping[str, str]]) -> None:
    """Log the decisions about the dataset, one line each."""
    for decision in decisions:
        told = Decision(decision["what"], decision["value"], decision["why"], decision["option"])
        log.info("%s", told.line())
