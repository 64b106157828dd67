"""`dataprops experiment`. Heavy imports are deferred, so `--help` is fast."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dataprops.experiment.grid import Dataset, Experiment, Preset
from dataprops.experiment.grid_options import Asked, experiment_from
from flows.commands.common import at_the_edge, stoppable
from flows.commands.options import AS_JSON, QUIET, GroupedCommand, options_of

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from dataprops.util.tools import Progress

COLUMNS = ("dataset", "model", "n_train", "test_loss", "test_accuracy", "penalty_2", "d_data", "k_f", "train_loss")
COLUMNS += ("flip_eps", "d_repr_last", "seconds")  # on a narrow terminal the last are dropped first
ALWAYS = 4

EXAMPLES = """\b
Examples:
  dataprops experiment digits: --preset quick --models resnet18 --sizes 100,200
  dataprops experiment medical=scans/ natural=photos/ --models resnet18,vgg13 --sizes 500:1750:250
  dataprops experiment --grid sets.toml --preset quick --name first
  dataprops experiment scans/ --classes benign,malignant --group-pattern '^[^/]+/(\\d+)_'
  dataprops experiment scans/ --models my.networks:Net      imports my.networks: your own code runs
"""

EXITS = """\b
Exit code: 0 all cells done, 1 some failed, 2 usage error or unusable input. Re-run the command to resume a stopped grid.
"""


@click.command("experiment", cls=GroupedCommand, epilog=EXAMPLES + "\n" + EXITS)
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@options_of(Asked, leave_out=("sources",))
@options_of(Experiment)
@options_of(Preset)
@options_of(Dataset, leave_out=("source", "name", "test", "sizes"))
@click.option("--inline", is_flag=True, help="Run without Prefect or Dask.")
@click.option("--cluster", default="processes", show_default=True, help="processes, cuda, local or tcp://host:port.")
@click.option("--workers", type=click.IntRange(1), help="Cells trained in parallel [default: one per core; 1 on a GPU]")
@AS_JSON
@QUIET
@at_the_edge
@stoppable("finished cells are kept")
def command(
    inline: bool,
    cluster: str,
    workers: int | None,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Train networks on samples of datasets, and measure how dataset properties affect them.

    Each cell (a dataset, a model, a training-set size, a seed) is trained, tested, attacked and analysed, and is one row of
    STORE/experiments/NAME/cells.parquet. Finished cells are kept: re-run the command to resume.
    """
    experiment = experiment_from(options)
    folder = _inline(experiment, workers, quiet) if inline else _flow(experiment, options, cluster, workers, quiet)
    sys.exit(_show(folder, as_json))


def _progress(quiet: bool) -> Progress:
    """Progress bars, with a line per finished cell above them."""
    from dataprops.util.tools import no_progress

    if quiet:
        return no_progress
    from rich.console import Console
    from rich.logging import RichHandler

    from tasks.progress import terminal_progress

    console = Console(stderr=True)
    logger = logging.getLogger("dataprops.experiment")
    logger.addHandler(RichHandler(console=console, show_path=False, show_level=False, markup=False))
    logger.setLevel(logging.INFO)
    return terminal_progress(console)


def _inline(experiment: Experiment, workers: int | None, quiet: bool) -> Path:
    os.environ.setdefault("OMP_NUM_THREADS", str(experiment.threads))  # read when torch loads
    from dataprops.experiment import experiment_tools, run_experiment

    return run_experiment(experiment, experiment_tools(experiment, _progress(quiet), workers))


def _flow(experiment: Experiment, options: dict[str, Any], cluster: str, workers: int | None, quiet: bool) -> Path:
    os.environ.setdefault("OMP_NUM_THREADS", str(experiment.threads))
    from dataprops.store.folder import open_store
    from flows.server import server_for

    store = open_store(experiment.store)
    with server_for(store) as ready:
        from dataprops.experiment import check

        check(experiment)  # fail before waiting for the server
        from flows.audit import show_progress_on
        from flows.experiment import experiment as run

        ready()
        show_progress_on(_progress(quiet))
        return run(options | {"store": experiment.store}, cluster, workers)


def _table(cells: pd.DataFrame, width: int, failed: int) -> Table:
    """The cells as a table no wider than the terminal: as many of `COLUMNS` as fit uncut."""
    from rich.table import Table

    told = {
        name: [f"{value:.4g}" if isinstance(value, float) else str(value) for value in cells[name].tolist()]
        for name in COLUMNS
    }
    wide = {name: max(len(name), *map(len, values), 0) + 2 for name, values in told.items()}
    shown = [name for at, name in enumerate(COLUMNS) if at < ALWAYS or sum(wide[c] for c in COLUMNS[: at + 1]) <= width]
    title = f"{len(cells)} cells done, {failed} failed"
    table = Table(title=title, box=None, padding=(0, 2, 0, 0))
    for name in shown:
        is_name = name in ("dataset", "model")
        table.add_column(name, justify="left" if is_name else "right", overflow="fold", no_wrap=not is_name)
    for row in zip(*(told[name] for name in shown), strict=True):
        table.add_row(*row)
    return table


def _show(folder: Path, as_json: bool) -> int:
    """Print the results; returns the exit code."""
    import pandas as pd

    cells = pd.read_parquet(folder / "cells.parquet")
    failed = int((cells["status"] == "failed").sum())
    if as_json:
        told = {"table": str(folder / "cells.parquet"), "done": len(cells) - failed, "failed": failed}
        click.echo(json.dumps(told | {"cells": json.loads(cells.to_json(orient="records"))}, allow_nan=False))
        return 1 if failed else 0
    from rich.console import Console

    console = Console()
    console.print(_table(cells[cells["status"] == "done"], console.width, failed))
    for row in cells[cells["status"] == "failed"].to_dict("records"):
        console.print(f"{row['dataset']}, {row['model']}, N = {row['n_train']}: {row['reason']}", markup=False)
    console.print(f"Table: {folder / 'cells.parquet'}", soft_wrap=True, markup=False)
    return 1 if failed else 0
