"""`dataprops experiment`. Imports what it needs when it runs: `--help` answers at once."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dataprops.experiment.grid import DEVICES, DOMAINS, PRESETS, SPLITS, Experiment
from dataprops.experiment.grid_options import experiment_from
from flows.commands.common import at_the_edge, stoppable

if TYPE_CHECKING:
    from dataprops.util.tools import Progress

EXAMPLES = """\b
Examples:
  dataprops experiment digits: --preset quick --models resnet18 --sizes 100,200
  dataprops experiment medical=scans/ natural=photos/ --models resnet18,vgg13 --sizes 500:1750:250
  dataprops experiment --grid sets.toml --preset quick --name first
  dataprops experiment scans/ --classes benign,malignant --group-pattern '^[^/]+/(\\d+)_'
  dataprops experiment scans/ --models my.networks:Net      imports my.networks: your own code runs
"""

EXITS = """\b
Exit code: 0 all cells done, 1 some failed, 2 wrong usage or unusable input. A stopped grid goes on with the same command.
"""


@click.command("experiment", epilog=EXAMPLES + "\n" + EXITS)
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@click.option("--grid", type=click.Path(), help="TOML file that lists datasets with their options, beside the SOURCEs.")
@click.option(
    "--models", help="With commas; resnet18, 34, 50, vgg13, 16, 19, or module:Name  [default: resnet18,vgg13]"
)
@click.option("--sizes", help="Training images: FIRST:LAST:STEP, or numbers with commas  [default: of the preset]")
@click.option("--preset", type=click.Choice(list(PRESETS)), help="paper (for a GPU) or quick  [default: paper]")
@click.option("--store", default=Experiment.store, show_default=True, help="Folder for everything that is written.")
@click.option("--name", help="Of the experiment in the store  [default: the preset]")
@click.option(
    "--domain",
    type=click.Choice(DOMAINS),
    default="unknown",
    show_default=True,
    help="Of the SOURCEs; one of them: medical=scans/.",
)
@click.option("--classes", help="Labels of the task, with commas; * for all  [default: the two largest classes]")
@click.option("--group-pattern", help="Regular expression over the path; its first group names the patient.")
@click.option("--group-column", default="group", show_default=True, help="Of a manifest: patient.")
@click.option("--label-column", default="label", show_default=True, help="Of a manifest.")
@click.option("--rule", "rules", multiple=True, metavar="NAME=VALUE", help="How a named source makes its labels.")
@click.option("--include", multiple=True, metavar="GLOB", help="Only these paths, e.g. 'images/*'; several times.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Not these paths, e.g. '*_mask.png'; several times.")
@click.option("--layout", help="Folder levels from the top, of class, split, group and *  [default: as found]")
@click.option("--range", help="Of images of more than 8 bits, as of `dataprops audit`  [default: auto]")
@click.option("--channels", type=click.Choice(["1", "3"]), help="Grey or colour  [default: by what the set holds]")
@click.option("--test", type=int, help="Test images  [default: of the preset]")
@click.option("--epochs", type=int, help="Of all models  [default: of the preset]")
@click.option("--size", type=int, help="Side of the images, pixels  [default: of the preset]")
@click.option("--batch", type=int, help="Images of a batch, of all models  [default: of the preset]")
@click.option("--lr", type=float, help="Learning rate, of all models  [default: of the preset]")
@click.option("--patience", type=int, help="Stop after N epochs without a lower training loss  [default: never]")
@click.option("--attacked", type=int, help="Test images under attack; 0 for all  [default: of the preset]")
@click.option("--seeds", help="With commas  [default: 0]")
@click.option(
    "--split",
    type=click.Choice(SPLITS),
    help="No patient on both sides, or by image as the paper has it  [default: group]",
)
@click.option("--device", type=click.Choice(DEVICES), help="[default: auto]")
@click.option("--threads", type=int, help="Of each cell on a CPU; cells run in parallel  [default: 1]")
@click.option("--inline", is_flag=True, help="With neither Prefect nor Dask.")
@click.option("--cluster", default="processes", show_default=True, help="processes, cuda, local or tcp://host:port.")
@click.option("--workers", type=click.IntRange(1), help="Cells at a time  [default: the cores; 1 on a GPU]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, and nothing else there.")
@click.option("--quiet", is_flag=True, help="No progress bars.")
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
    """Train networks on samples of datasets, and measure what the sets' properties do to them.

    Each cell - a dataset, a model, a number of images, a seed - is trained, tested, attacked and looked into;
    STORE/experiments/NAME/cells.parquet has a row for each. Finished cells are kept: the same command goes on where it stood.
    """
    experiment = experiment_from(options)
    folder = _inline(experiment, workers, quiet) if inline else _flow(experiment, options, cluster, workers, quiet)
    sys.exit(_show(folder, as_json))


def _progress(quiet: bool) -> Progress:
    """Bars, and a line for each finished cell above them."""
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

        check(experiment)  # before a server is waited for
        from flows.audit import show_progress_on
        from flows.experiment import experiment as run

        ready()
        show_progress_on(_progress(quiet))
        return run(options | {"store": experiment.store}, cluster, workers)


def _show(folder: Path, as_json: bool) -> int:
    """Print what came out; the exit code."""
    import pandas as pd

    cells = pd.read_parquet(folder / "cells.parquet")
    failed = int((cells["status"] == "failed").sum())
    if as_json:
        told = {"table": str(folder / "cells.parquet"), "done": len(cells) - failed, "failed": failed}
        click.echo(json.dumps(told | {"cells": json.loads(cells.to_json(orient="records"))}, allow_nan=False))
        return 1 if failed else 0
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{len(cells) - failed} cells done, {failed} failed")
    shown = ("dataset", "model", "n_train", "d_data", "k_f", "train_loss", "test_loss", "test_accuracy", "penalty_2")
    for name in (*shown, "flip_eps", "d_repr_last", "seconds"):
        table.add_column(name, justify="left" if name in ("dataset", "model") else "right")
    for row in cells.to_dict("records"):
        if row["status"] == "done":
            values = [row[name] for name in (*shown, "flip_eps", "d_repr_last", "seconds")]
            table.add_row(*(f"{value:.4g}" if isinstance(value, float) else str(value) for value in values))
    console = Console()
    console.print(table)
    for row in cells[cells["status"] == "failed"].to_dict("records"):
        console.print(f"{row['dataset']}, {row['model']}, N = {row['n_train']}: {row['reason']}", markup=False)
    console.print(f"Table: {folder / 'cells.parquet'}", soft_wrap=True, markup=False)
    return 1 if failed else 0
