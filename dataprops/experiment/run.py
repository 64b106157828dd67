"""Run a grid: validate it, run the stages in order, and distribute missing cells over processes."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from dataprops.audit.composition import Call, call_directly
from dataprops.audit.stages.scan import source_options
from dataprops.errors import DatapropsError
from dataprops.experiment.cell import finished, run_cell
from dataprops.experiment.grid import Cell, Experiment, plan_cells
from dataprops.experiment.samples import describe
from dataprops.experiment.sets import gather
from dataprops.experiment.table import cell_table, load_cell
from dataprops.sources import open_source
from dataprops.store.folder import locked, open_store
from dataprops.store.tables import write_table
from dataprops.util.files import write_text
from dataprops.util.tools import Progress, Tools, cores, no_progress, process_map

log = logging.getLogger(__name__)

POLL_SECONDS = 1.0


def run_experiment(experiment: Experiment, tools: Tools, call: Call = call_directly) -> Path:
    """Compute the missing cells of a grid; returns its folder.

    Raises
    ------
    DatapropsError
        If a source, a model or an option is invalid, or the experiment is already running.
    """
    store = open_store(experiment.store)
    check(experiment)
    with locked(store, f"experiment-{experiment.name}", experiment.wait):
        experiment.folder.mkdir(parents=True, exist_ok=True)
        write_text(experiment.folder / "experiment.json", json.dumps(asdict(experiment), indent=1) + "\n")
        for stage in STAGES:
            call(stage, experiment, tools)
    return experiment.folder


def check(experiment: Experiment) -> None:
    """Validate sources and models before any work.

    Raises
    ------
    DatapropsError
        Names the source or the model.
    """
    from dataprops.experiment.models import check_model

    for dataset in experiment.datasets:
        config = dataset.audit(experiment.store, experiment.settings)
        open_source(config.source, source_options(config))
    for name in experiment.models:
        check_model(name, experiment.settings.size)
    if experiment.device == "cuda":
        device_of(experiment)


def device_of(experiment: Experiment) -> str:
    """Where networks are trained.

    Raises
    ------
    DatapropsError
        If a GPU is requested and there is none.
    """
    import torch

    there = torch.cuda.is_available()
    if experiment.device == "cuda" and not there:
        raise DatapropsError("no CUDA device is available: use --device cpu")
    return "cuda" if there and experiment.device != "cpu" else "cpu"


def train(experiment: Experiment, tools: Tools) -> dict[str, int]:
    """Compute the unfinished cells; returns the numbers of done and failed ones."""
    cells = plan_cells(experiment)
    device = device_of(experiment)
    work = experiment.folder / "work"
    (experiment.folder / "cells").mkdir(parents=True, exist_ok=True)
    work.mkdir(exist_ok=True)
    missing = [cell for cell in cells if not finished(experiment, cell, device)]
    images = sum(cell.n_train * experiment.settings.epochs_of(cell.model) for cell in missing)
    if missing:
        with tools.progress("training", images, "images") as advance, _watching(work, missing, advance):
            for line in tools.map(run_cell, ((experiment, cell, device) for cell in missing)):
                log.info("%s", line)
    rows = [load_cell(experiment, cell) for cell in cells]
    count = {status: sum(row["status"] == status for row in rows if row) for status in ("done", "failed")}
    with contextlib.suppress(OSError):
        work.rmdir()
    return count


@contextlib.contextmanager
def _watching(work: Path, cells: list[Cell], advance: Callable[[int], None]) -> Iterator[None]:
    """Update the progress bar from the progress files that the cells write, wherever they run."""
    told = dict.fromkeys((cell.key for cell in cells), 0)
    stop = threading.Event()

    def look() -> None:
        for file in work.glob("*.json"):
            with contextlib.suppress(OSError, ValueError, KeyError):
                done = json.loads(file.read_text(encoding="utf-8"))["images"]
                if file.stem in told and done > told[file.stem]:
                    advance(done - told[file.stem])
                    told[file.stem] = done

    def watch() -> None:
        while not stop.wait(POLL_SECONDS):
            look()

    thread = threading.Thread(target=watch, daemon=True, name="experiment")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        look()
        for file in work.glob("*.json"):
            file.unlink(missing_ok=True)


def collect(experiment: Experiment, tools: Tools) -> int:
    """Write the table of the grid's cells; returns the number of rows."""
    rows = [load_cell(experiment, cell) for cell in plan_cells(experiment)]
    table = cell_table([row for row in rows if row is not None])
    write_table(experiment.folder / "cells.parquet", table)
    return len(table)


STAGES = (gather, describe, train, collect)


def experiment_tools(experiment: Experiment, progress: Progress = no_progress, workers: int | None = None) -> Tools:
    """Tools with local processes: `workers` of them, by default one per core on a CPU, one on a GPU."""
    device = device_of(experiment)
    count = workers or (1 if device == "cuda" else max(1, cores() // experiment.threads))
    # read by the workers' libraries on import
    os.environ.setdefault("OMP_NUM_THREADS", str(experiment.threads))
    return Tools(process_map(count), None, count, experiment.threads, device, progress)
