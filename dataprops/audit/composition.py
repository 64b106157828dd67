"""The one composition of the stages. Inline, as a Prefect flow, or from a notebook: the same stages in the same order."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dataprops.audit.config import AuditConfig
from dataprops.audit.stages.check import check
from dataprops.audit.stages.decode import decode
from dataprops.audit.stages.distances import distances
from dataprops.audit.stages.find import find
from dataprops.audit.stages.measure import measure
from dataprops.audit.stages.report import report
from dataprops.audit.stages.scan import scan
from dataprops.audit.workspace import Run, start_run
from dataprops.checks import validator
from dataprops.errors import DatapropsError
from dataprops.sources.arrays import drop, hold, square_side
from dataprops.store.folder import load_summary, locked, open_store
from dataprops.util.tools import Tools, inline_tools

__all__ = ["STAGES", "audit", "call_directly", "load_summary", "run_stages"]

STAGES = (
    scan,
    decode,
    distances,
    measure,
    find,
    check,
    report,
)

# call(stage, run, tools) runs one stage: here, or as a task of an orchestrator
Call = Callable[[Callable[..., Any], Run, Tools], Any]


def call_directly(stage: Callable[..., Any], run: Run, tools: Tools) -> Any:
    """Run a stage in this process."""
    return stage(run, tools)


def run_stages(config: AuditConfig, tools: Tools, call: Call = call_directly, wait: float = 0.0) -> Path:
    """Audit a dataset; returns the folder of its results. Waits so many seconds for another audit of it to end.

    Raises
    ------
    DatapropsError
        If the input or an option is unusable, or another audit of the dataset is running.
    """
    validator.start()
    with locked(open_store(config.store), config.dataset, wait):
        run = start_run(config)
        try:
            for stage in STAGES:
                call(stage, run, tools)
        except BaseException:
            # what is worth keeping (shards, checkpoints of a pass) does not live in the work folder
            shutil.rmtree(run.work, ignore_errors=True)
            raise
    return run.results


def audit(source: Any, labels: Sequence | None = None, *, tools: Tools | None = None, **options: Any) -> dict:
    """Audit a folder, a manifest, a container, an address, an array or a Dataset in this process; returns the summary.

    Parameters
    ----------
    source : str, Path, array or Dataset
        Folder, manifest, container, address, ``name:location``; or images in memory, see `sources.arrays.hold`. A Dataset's items
        are asked for three times: for labels, contents, and decoding; they must be the same each time.
    labels : sequence of n, optional
        Of an array: classes or numbers.
    options
        Any other field of `config.AuditConfig`, e.g. ``store``, ``name``, ``size`` (of images in memory: their
        height, if square, by default), ``channels``.

    Raises
    ------
    DatapropsError
        If the input or an option is unusable.
    """
    tools = tools or inline_tools()
    if isinstance(source, str | Path):
        if labels is not None:
            raise DatapropsError("labels go with an array; those of files come from folders or a manifest")
        return load_summary(run_stages(AuditConfig(source=str(source), **options), tools))
    name = options.setdefault("name", "array")
    spec = hold(source, labels, name)
    try:
        side = square_side(spec)
        if side is not None:
            options.setdefault("size", side)
        return load_summary(run_stages(AuditConfig(source=spec, **options), tools))
    finally:
        drop(name)
