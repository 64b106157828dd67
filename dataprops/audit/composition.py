"""The one composition of the stages. Inline, as a Prefect flow, or from a notebook: the same stages in the same order."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from dataprops.audit import beside, drawn, kernels, unchanged
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

# Stages in their order: each a module of `stages` with a function of its name, imported when it runs. The middle ones are left
# out where nothing is new (see `unchanged`), and with them the imports that take longest.
READ = ("scan", "decode")
COMPUTE = ("distances", "measure", "probe", "find")
TELL = ("check", "report")
STAGES = (*READ, *COMPUTE, *TELL)

# call(stage, run, tools) runs one stage, of an audit or a grid: here, or as a task of an orchestrator
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
        Seconds that stages took before this call, by name; they are added in the summary. The helper then starts where something is
        to be computed.

    Raises
    ------
    DatapropsError
        If the input or an option is unusable, or another audit of the dataset is running.
    """
    from threadpoolctl import threadpool_limits

    if not spent:  # else nothing may be left to read, and nothing be new
        kernels.begin()
    # numpy's products are small: a second thread for them computes little, and spins on a core that other work would have
    with locked(open_store(config.store), config.dataset, wait), threadpool_limits(1, "blas"):
        run = start_run(config)
        try:
            _run_all(run, tools, call, dict(spent or {}))
        except BaseException:
            # what is worth keeping (shards, checkpoints of a pass) does not live in the work folder
            beside.forget(run)
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
        log.info("nothing is new since the last audit: its tables are reused")
        seconds |= dict.fromkeys(COMPUTE, 0.0)
    else:
        kernels.begin()
        beside.prepare(run.config.size)
        beside.begin(run, beside.OF_PICTURES)  # while pairs are compared
        begin = time.perf_counter()
        under_way.stage(COMPUTE[0])
        import_module(f"dataprops.audit.stages.{COMPUTE[0]}")  # meanwhile
        kernels.wait()
        seconds[COMPUTE[0]] = seconds.get(COMPUTE[0], 0.0) + time.perf_counter() - begin
        go(COMPUTE[: COMPUTE.index("probe")])
        beside.begin(run, beside.OF_NEIGHBOURS)  # while the probe is trained
        drawn.begin(run)
        go(COMPUTE[COMPUTE.index("probe") :])
    go(TELL[:1])
    unchanged.remember(run, key)
    run.files.seconds.write(seconds)
    go(TELL[1:])


def audit(source: Any, labels: Sequence | None = None, *, tools: Tools | None = None, **options: Any) -> Audited:
    """Audit a folder, a manifest, a container, an address, an array or a Dataset in this process.

    Returns the summary, a dict, that shows itself in a notebook and has ``.findings``, ``.suspects``, ``.pairs`` as DataFrames and
    ``.clean()``; see `audited.Audited`.

    Parameters
    ----------
    source : str, Path, array or Dataset
        Folder, manifest, container, address, ``name:location``; or images in memory, see `sources.arrays.hold`. A Dataset's items
        are asked for up to three times: for labels, contents, and decoding; they must be the same each time.
    labels : sequence of n, optional
        Of an array: classes or numbers.
    options
        Any other field of `config.AuditConfig`, e.g. ``store``, ``name``, ``size`` (of images in memory: their
        height, if square, by default), ``channels``.

    Raises
    ------
    DatapropsError
        If the input or an option is unusable.

    Warns
    -----
    UserWarning
        If the dimension or the sharpness is NaN, with the reason; or floats are on an unusual range for images (normalised tensors).
    """
    tools = tools or inline_tools()
    if isinstance(source, str | Path):
        if labels is not None:
            raise DatapropsError("labels go with an array; those of files come from folders or a manifest")
        return warn_of(Audited(load_summary(run_stages(from_dict({"source": str(source), **options}), tools))))
    name = options.setdefault("name", "array")
    held = hold(source, labels, name)
    side = square_side(held)
    if side is not None:
        options.setdefault("size", side)
    return warn_of(Audited(load_summary(run_stages(from_dict({"source": held, **options}), tools))))
