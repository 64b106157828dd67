"""Stage 1: what images there are."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np
import pandas as pd

from dataprops.audit.config import AuditConfig, same_fields
from dataprops.audit.records import Scanned
from dataprops.audit.workspace import Run
from dataprops.checks.thresholds import load_thresholds
from dataprops.sources import OpenSource, SourceOptions, open_source
from dataprops.sources.labels import label_values
from dataprops.store.folder import open_salt
from dataprops.util.tools import Tools

log = logging.getLogger(__name__)


def source_of(run: Run) -> OpenSource:
    """The run's source, opened."""
    return open_source(run.config.source, source_options(run.config))


def source_options(config: AuditConfig) -> SourceOptions:
    """How a config wants its source read."""
    return SourceOptions(**same_fields(config, SourceOptions), salt=open_salt(Path(config.store)))


def scan(run: Run, tools: Tools) -> Scanned:
    """List the images of the source, with labels, splits and groups. Decodes nothing."""
    load_thresholds(run.config.thresholds)  # a wrong file is refused before any work
    table = source_of(run).scan()
    kind, y, classes = label_values(table["label"].tolist(), run.config.labels, table["path"].tolist())
    ignored, empty = table.attrs.get("ignored", ()), table.attrs.get("empty_classes", ())
    if ignored:
        log.info("%d files are no images and were left out (first: %s)", len(ignored), ignored[0])
    # a key may hold bytes that are no UTF-8
    keys = pd.Series([os.fsencode(key) for key in table["key"]], dtype=object)
    run.files.listing.write(table.assign(image=np.arange(len(table), dtype=np.int64), y=y, key=keys))
    return run.files.scanned.write(Scanned(len(table), kind, tuple(classes), tuple(ignored), tuple(empty)))
