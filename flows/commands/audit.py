"""`dataprops audit`. Imports what it needs when it runs: `--help` answers at once."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dataprops.audit.config import LABEL_KINDS, PATIENTS, SCALES, AuditConfig
from dataprops.checks import validator
from dataprops.properties.estimators import groups
from flows.commands.common import at_the_edge, stoppable

if TYPE_CHECKING:
    from rich.console import Console

    from dataprops.util.tools import Progress

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}

EXAMPLES = """\b
Examples:
  dataprops audit digits:                          the digits that ship with scikit-learn
  dataprops audit scans/ --store audits            class/file or split/class/file
  dataprops audit scans.csv --label-column finding --group-column patient
  dataprops audit chexpert:CheXpert-v1.0-small --rule uncertain=positive --rule subset=1750
  dataprops audit scans/ --size 224 --scale per-image-max --channels 1
  dataprops audit ct/ --window lung                DICOM; dicom:ct/ for every frame, nifti:brains/ for slices
  dataprops audit scans/ --anchors 5000            very many images: estimates from 5,000 of them
  dataprops audit scans/ --inline --json | jq .intrinsic_dimension
  dataprops audit scans/ --cluster tcp://scheduler:8786 --fail-on warning
"""

EXITS = """\b
Exit code: 0 no alert at or above --fail-on, 1 some, 2 wrong usage or unusable input,
3 the machine refused (a full disk, a read-only store) or something unexpected; 130 interrupted.
"""


def memory_amount(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    """'4G', '512 MiB' -> bytes."""
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", text, re.IGNORECASE)
    if not match:
        raise click.BadParameter(f"{text!r} is not an amount of memory: write 4G, 512M or 800000000")
    return int(float(match[1]) * UNITS[match[2].upper()])


def estimator_names(context: click.Context, parameter: click.Parameter, text: str) -> tuple[str, ...]:
    """'mle,twonn' -> ('mle', 'twonn')."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in groups():
            raise click.BadParameter(f"{name!r} must be one of {', '.join(groups())}")
    return names


@click.command("audit", epilog=EXAMPLES + "\n" + EXITS)
@click.argument("source")
@click.option("--store", default=AuditConfig.store, show_default=True, help="Folder for everything that is written.")
@click.option("--name", default="", help="Name of the dataset in the store [default: from SOURCE].")
@click.option("--size", default=AuditConfig.size, show_default=True, help="Side of the canonical image, pixels.")
@click.option(
    "--channels",
    type=click.Choice(["1", "3"]),
    help="Grey or colour [default: as in the last audit, else by what the set holds].",
)
@click.option(
    "--scale",
    type=click.Choice(SCALES),
    default=AuditConfig.scale,
    show_default=True,
    help="Grey levels as they are, or x * 255 / max of each image, as the paper has it.",
)
@click.option(
    "--window",
    default=AuditConfig.window,
    show_default=True,
    help="Of DICOM and NIfTI: auto (the file's own), file, percentiles, a preset such as lung or brain, or CENTRE/WIDTH.",
)
@click.option(
    "--labels",
    type=click.Choice(LABEL_KINDS),
    default=AuditConfig.labels,
    show_default=True,
    help="Kind of the labels.",
)
@click.option("--path-column", default=AuditConfig.path_column, show_default=True, help="Of a manifest.")
@click.option("--label-column", default=AuditConfig.label_column, show_default=True, help="Of a manifest.")
@click.option("--split-column", default=AuditConfig.split_column, show_default=True, help="Of a manifest.")
@click.option("--group-column", default=AuditConfig.group_column, show_default=True, help="Of a manifest: patient.")
@click.option("--group-pattern", help="Regular expression over the path; its first group names the patient.")
@click.option("--label-pattern", help="Regular expression over the path; its first group is the label.")
@click.option(
    "--rule",
    "rules",
    multiple=True,
    metavar="NAME=VALUE",
    help="How a named source makes its labels, e.g. uncertain=positive; may be given several times.",
)
@click.option("--include", multiple=True, metavar="GLOB", help="Only these paths, e.g. 'images/*'; several times.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Not these paths, e.g. '*_mask.png'; several times.")
@click.option(
    "--layout",
    default="",
    help="Folder levels from the top, of class, split, group and *, e.g. split/class [default: as found].",
)
@click.option(
    "--images", default="", metavar="DIR", help="Where a manifest's images lie [default: looked for beside it]."
)
@click.option("--suffix", default="", metavar=".jpg", help="Ending that a manifest's paths lack [default: looked for].")
@click.option("--one-hot", default="", metavar="COLUMNS", help="Of a manifest: the column that is 1 names the label.")
@click.option("--label", default="", metavar="NAME", help="Of images with several labels: this one against the rest.")
@click.option("--as-written", is_flag=True, help="Labels as they are written: 'Cat' and 'cat ' are two, 'a|b' is one.")
@click.option(
    "--range",
    default=AuditConfig.range,
    show_default=True,
    help="Of images of more than 8 bits: unit, byte, a bit depth (12bit), LOW:HIGH, or image (each by itself).",
)
@click.option(
    "--patients",
    type=click.Choice(PATIENTS),
    default=AuditConfig.patients,
    show_default=True,
    help="Group of a DICOM image; auto: the patient, or the study where one id stands for everybody.",
)
@click.option("--k", default=AuditConfig.k, show_default=True, help="Neighbours of the dimension estimates.")
@click.option(
    "--near-rms",
    type=float,
    help="Near-copies as they are: root-mean-square difference of at most this many grey levels [default: from the set].",
)
@click.option(
    "--estimators",
    default=lambda: ",".join(groups()),
    show_default=True,
    callback=estimator_names,
    help="Of the dimension.",
)
@click.option("--sample", default=AuditConfig.sample, show_default=True, help="M of the paper's label sharpness.")
@click.option("--draws", default=AuditConfig.draws, show_default=True, help="Draws of M images.")
@click.option("--seed", default=AuditConfig.seed, show_default=True, help="Random seed.")
@click.option(
    "--anchors",
    type=int,
    help="Compare N random images with all others instead of all pairs: estimates with intervals, for very large sets.",
)
@click.option(
    "--probe/--no-probe",
    default=AuditConfig.probe,
    show_default=True,
    help="Train a reference classifier on the set: suspect labels, learning curve, predictions.",
)
@click.option("--thresholds", type=click.Path(), help="TOML file that overrides the default thresholds.")
@click.option(
    "--memory", callback=memory_amount, help="Working memory of each worker, e.g. 4G [default: what is free]."
)
@click.option("--reason", default=AuditConfig.reason, show_default=True, help="Why; shown with the run.")
@click.option("--inline", is_flag=True, help="In this process, with neither Prefect nor Dask.")
@click.option("--cluster", default="local", show_default=True, help="local, processes, cuda or tcp://host:port.")
@click.option("--workers", type=click.IntRange(1), help="Threads or processes of a local cluster [default: the cores].")
@click.option("--fail-on", type=click.Choice(["critical", "warning", "never"]), default="critical", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, and nothing else there.")
@click.option("--quiet", is_flag=True, help="No progress bars.")
@at_the_edge
@stoppable("what was decoded and computed is kept")
def command(
    inline: bool,
    cluster: str,
    workers: int | None,
    fail_on: str,
    as_json: bool,
    quiet: bool,
    channels: str | None,
    **options: Any,
) -> None:
    """Audit a dataset: a folder of images, a manifest (.csv, .parquet), or NAME:LOCATION.

    Writes Parquet tables, checks, and one HTML report into the store, and prints a summary.
    """
    validator.start()  # takes longest: everything else happens beside it
    # matplotlib would put its list of fonts into the home folder
    cache = Path(options["store"]).expanduser().resolve() / "cache"
    os.environ.setdefault("MPLCONFIGDIR", str(cache))
    if not _can_write(Path(__file__).parents[2] / "dataprops") and not _can_write(Path(os.path.expanduser("~"))):  # noqa: PTH111
        os.environ.setdefault("NUMBA_CACHE_DIR", str(cache / "numba"))  # else compiled anew by each process
    config = AuditConfig(channels=int(channels) if channels else None, **options)
    summary = _audit_inline(config, workers, quiet) if inline else _audit_flow(config, cluster, workers, quiet)
    if as_json:
        click.echo(json.dumps(summary, allow_nan=False))
    else:
        from rich.console import Console

        from dataprops.report.terminal import print_summary

        print_summary(summary, Console())
    from dataprops.checks.alerts import exit_code

    sys.exit(exit_code(summary["alerts"], fail_on))


def _can_write(folder: Path) -> bool:
    return os.access(folder, os.W_OK)


def _console() -> Console:
    from rich.console import Console

    return Console(stderr=True)


def progress_shown(quiet: bool) -> Progress:
    from dataprops.util.tools import no_progress

    if quiet:
        return no_progress
    from tasks.progress import terminal_progress

    return terminal_progress(_console())


@contextmanager
def telling(config: AuditConfig, quiet: bool) -> Iterator[Progress]:
    """Progress on the terminal while the context lasts, and a word of what is under way wherever nothing is counted."""
    if quiet:
        yield progress_shown(quiet)
        return
    from tasks.progress import Teller

    def what() -> str:
        from dataprops.audit.underway import in_words, running

        told = running(Path(config.store).expanduser().resolve(), config.dataset)
        return in_words(told[0]) if told else "starting"

    with Teller(_console(), what) as progress:
        yield progress


def _audit_inline(config: AuditConfig, workers: int | None, quiet: bool) -> dict[str, Any]:
    with telling(config, quiet) as progress:
        from dataprops.audit.composition import run_stages
        from dataprops.store.folder import load_summary
        from dataprops.util.tools import inline_tools

        return load_summary(run_stages(config, inline_tools(progress, workers)))


def _audit_flow(config: AuditConfig, cluster: str, workers: int | None, quiet: bool) -> dict[str, Any]:
    from dataclasses import asdict

    from dataprops.store.folder import open_store
    from flows.server import server_for

    store = open_store(config.store)
    with telling(config, quiet) as progress, server_for(store) as ready:
        # a server takes seconds to start: decode meanwhile; the flow's own stage then finds the shards in place
        spent = _decode_ahead(config, progress, workers)
        from flows.audit import audit as flow
        from flows.audit import show_progress_on, took

        _import_ahead()
        ready()
        show_progress_on(progress)
        took(spent)
        return flow(asdict(config), cluster, workers)


def _import_ahead() -> None:
    """Load what later stages import when they use it, while there is nothing else to do."""
    import matplotlib.figure  # noqa: F401
    import sklearn.tree  # noqa: F401


def _decode_ahead(config: AuditConfig, progress: Progress, workers: int | None) -> dict[str, float]:
    """Scan and decode into the shards of the store; idempotent, so that the flow's stages need not know of it.

    Returns
    -------
    dict
        Seconds that each stage took, by its name.
    """
    import shutil

    from dataprops.audit.composition import READ, stage
    from dataprops.audit.workspace import start_run
    from dataprops.store.folder import locked, open_store
    from dataprops.util.tools import inline_tools

    spent: dict[str, float] = {}
    with locked(open_store(config.store), config.dataset):
        run = start_run(config)
        try:
            for name in READ:
                begin = time.perf_counter()
                stage(name)(run, inline_tools(progress, workers))
                spent[name] = time.perf_counter() - begin
        finally:
            shutil.rmtree(run.work, ignore_errors=True)
    return spent
