"""The sequence of stages, shared by the command line, the Prefect flow and notebooks."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from dataprops.audit import background, drawn, kernels, unchanged
from dataprops.audit.audited import Audited, warn_of
from dataprops.audit.config import AuditConfig, from_dict
from dataprops.audit.underway import UnderWay
from dataprops.audit.workspace import Run, start_run
from dataprops.errors import DatapropsError
from dataprops.sources.arrays import hold, square_side
from dataprops.store.folder import load_summary, locked, open_store
from dataprops.util.tools import Tools, inline_tools

__all__ = ["STAGES", "audit", "call_directly", "load_summary", "run_stages"]

log = logging.getLogger(__name__)

# Stages in order, each a function in a module of the same name in `stages`, imported when it runs. COMPUTE, with the slowest
# imports, is skipped if nothing is new (see `unchanged`).
READ = ("scan", "decode")
COMPUTE = ("distances", "measure", "probe", "find")
TELL = ("check", "report")
STAGES = (*READ, *COMPUTE, *TELL)

# call(stage, run, tools) runs one stage of an audit or a grid, in this process or as an orchestrator's task
Call = Callable[[Callable[..., Any], Any, Tools], Any]


def call_directly(stage: Callable[..., Any], run: Any, tools: Tools) -> Any:
    """Run a stage in this process."""
    return stage(run, tools)


def stage(name: str) -> Callable[..., Any]:
    """The function of a stage."""
    return getattr(import_module(f"dataprops.audit.stages.{name}"), name)


def run_stages(
    config: AuditConfig,
    tools: Tools,
    call: Call = call_directly,
    wait: float = 0.0,
    spent: Mapping[str, float] | None = None,
) -> Path:
    """Audit a dataset; returns the folder of its results.

    Parameters
    ----------
    config : AuditConfig
    tools : Tools
    call : callable
        Runs one stage.
    wait : float
        Waits up to `wait` seconds for a running audit of the dataset to finish.
    spent : mapping, optional
        Seconds that stages took before this call, by name; added to the summary. The helper then starts only if something is to be
        computed.

    Raises
    ------
    DatapropsError
        If the input or an option is unusable, or another audit of the dataset is still running after `wait`.
    """
    from threadpoolctl import threadpool_limits

    if not spent:  # otherwise the images are decoded, and perhaps nothing is new
        kernels.begin()
    # numpy's products are small: a second BLAS thread would mostly spin on a core that other work needs
    with locked(open_store(config.store), config.dataset, wait), threadpool_limits(1, "blas"):
        run = start_run(config)
        try:
            _run_all(run, tools, call, dict(spent or {}))
        except BaseException:
            # reusable files (shards, checkpoints) are outside the work folder
            background.drop(run)
            drawn.forget(run)
            shutil.rmtree(run.work, ignore_errors=True)
            raise
    return run.results


def _run_all(run: Run, tools: Tools, call: Call, seconds: dict[str, float]) -> None:
    under_way = UnderWay(run)
    tools = tools._replace(progress=under_way.progress(tools.progress))

    def go(names: Sequence[str]) -> None:
        for name in names:
            begin = time.perf_counter()
            under_way.stage(name)
            call(stage(name), run, tools)
            seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - begin

    go(READ)
    key = unchanged.key_of(run)
    if unchanged.restore(run, key):
        log.info("nothing new since the last audit: reusing its tables")
        seconds |= dict.fromkeys(COMPUTE, 0.0)
    else:
        kernels.begin()
        background.prepare(run.config.size, run.files.decoded.read().n_readable)
        background.submit(run, background.OF_IMAGES)  # runs while pairs are compared
        begin = time.perf_counter()
        under_way.stage(COMPUTE[0])
        import_module(f"dataprops.audit.stages.{COMPUTE[0]}")  # while kernels compile
        kernels.wait()
        seconds[COMPUTE[0]] = seconds.get(COMPUTE[0], 0.0) + time.perf_counter() - begin
        go(COMPUTE[: COMPUTE.index("probe")])
        background.submit(run, background.OF_NEIGHBOURS)  # runs while the probe trains
        drawn.begin(run)
        go(COMPUTE[COMPUTE.index("probe") :])
    go(TELL[:1])
    unchanged.remember(run, key)
    run.files.seconds.write(seconds)
    go(TELL[1:])


def audit(source: Any, labels: Sequence | None = None, *, tools: Tools | None = None, **options: Any) -> Audited:
    """Audit a folder, manifest, container, URL, array or torch Dataset in this process.

    Parameters
    ----------
    source : str, Path, array or Dataset
        Folder, manifest, container, URL, ``name:location``; or images in memory, see `sources.arrays.hold`. A Dataset's items are
        read up to three times (labels, content hashes, decoding) and must be the same each time.
    labels : sequence of n, optional
        Labels of an array: classes or numbers.
    options
        Other fields of `config.AuditConfig`, e.g. ``store``, ``name``, ``size`` (default for square images in memory: their
        height), ``channels``.

    Returns
    -------
    Audited
        The summary, a dict with an HTML representation, ``.findings``, ``.suspects``, ``.pairs`` as DataFrames and ``.clean()``.

    Raises
    ------
    DatapropsError
        If the input or an option is unusable.

    Warns
    -----
    UserWarning
        If the dimension or the sharpness is NaN, with the reason; or if floats have an unusual range (normalised tensors).
    """
    tools = tools or inline_tools()
    if isinstance(source, str | Path):
        if labels is not None:
            raise DatapropsError("labels are only for arrays; those of files come from folders or a manifest")
        return warn_of(Audited(load_summary(run_stages(from_dict({"source": str(source), **options}), tools))))
    name = options.setdefault("name", "array")
    held = hold(source, labels, name)
    side = square_side(held)
    if side is not None:
        options.setdefault("size", side)
    return warn_of(Audited(load_summary(run_stages(from_dict({"source": held, **options}), tools))))
