"""`dataprops audit`. Heavy imports are deferred, so `--help` is fast."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dataprops.audit import kernels
from dataprops.audit.config import AuditConfig
from flows.commands.common import at_the_edge, caches_of, stoppable
from flows.commands.options import AS_JSON, QUIET, GroupedCommand, asked, options_of

if TYPE_CHECKING:
    from rich.console import Console

    from dataprops.util.tools import Progress

EXAMPLES = """\b
Examples:
  dataprops audit digits:                          the digits dataset of scikit-learn
  dataprops audit scans/ --store audits            class/file or split/class/file
  dataprops audit scans.csv --label-column finding --group-column patient
  dataprops audit chexpert:CheXpert-v1.0-small --rule uncertain=positive --rule subset=1750
  dataprops audit scans/ --size 224 --scale per-image-max --channels 1
  dataprops audit ct/ --window lung                DICOM; dicom:ct/ for every frame, nifti:brains/ for slices
  dataprops audit scans/ --anchors 5000            very large datasets: estimates from 5,000 images
  dataprops audit scans/ --inline --json | jq .intrinsic_dimension
  dataprops audit scans/ --cluster tcp://scheduler:8786 --fail-on warning
"""

EXITS = """\b
Exit code: 0 no alert at or above --fail-on, 1 alert, 2 usage error or unusable input,
3 system error (full disk, read-only store) or unexpected error, 130 interrupted.
"""


@click.command("audit", cls=GroupedCommand, epilog=EXAMPLES + "\n" + EXITS)
@click.argument("source")
@options_of(AuditConfig, leave_out=("source",))
@click.option("--inline", is_flag=True, help="Run in this process, without Prefect or Dask.")
@click.option("--cluster", default="local", show_default=True, help="local, processes, cuda or tcp://host:port.")
@click.option(
    "--workers", type=click.IntRange(1), help="Threads or processes of a local cluster [default: one per core]."
)
@click.option(
    "--fail-on",
    type=click.Choice(["critical", "warning", "never"]),
    default="critical",
    show_default=True,
    help="Lowest severity of an alert that gives exit code 1.",
)
@AS_JSON
@QUIET
@at_the_edge
@stoppable("decoded and computed results are kept")
def command(
    inline: bool,
    cluster: str,
    workers: int | None,
    fail_on: str,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Audit a dataset: a folder of images, a manifest (.csv, .parquet), or NAME:LOCATION.

    Writes Parquet tables, checks and an HTML report to the store, and prints a summary.
    """
    cache = caches_of(options["store"])
    if not _can_write(Path(__file__).parents[2] / "dataprops") and not _can_write(Path(os.path.expanduser("~"))):  # noqa: PTH111
        os.environ.setdefault("NUMBA_CACHE_DIR", str(cache / "numba"))  # otherwise every process compiles again
    if inline:
        kernels.begin()  # takes longest; runs in the background
    config = AuditConfig(**asked(options))
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
def telling(config: AuditConfig, quiet: bool, otherwise: Callable[[], str] = lambda: "starting") -> Iterator[Progress]:
    """Show progress on the terminal while the context lasts; `otherwise` gives the text while no stage of this audit is running."""
    if quiet:
        yield progress_shown(quiet)
        return
    from tasks.progress import Teller

    def what() -> str:
        from dataprops.audit.underway import in_words, running

        told = running(Path(config.store).expanduser().resolve(), config.dataset)
        return in_words(told[0]) if told else otherwise()

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

    store, doing = open_store(config.store), ["waiting for the Prefect server"]
    with telling(config, quiet, lambda: doing[-1]) as progress, server_for(store) as ready:
        # decode while the server starts (seconds); the flow's own stage then finds the shards in place
        spent, decoded = _decode_ahead(config, progress, workers)
        from flows.audit import audit as flow
        from flows.audit import show_progress_on, took

        if decoded:
            kernels.begin()  # not earlier: it would compete with decoding and the server for cores
        _import_ahead(something_new=bool(decoded))
        ready()
        doing.append("starting the Prefect flow")
        show_progress_on(progress)
        took(spent)
        return flow(asdict(config), cluster, workers)


def _import_ahead(*, something_new: bool) -> None:
    """Import later stages while waiting for the server; if nothing is new, only the few that will run."""
    from dataprops.audit.composition import COMPUTE, TELL, stage

    for name in COMPUTE if something_new else TELL:
        stage(name)
    if not something_new:
        from dataprops.report.plots import prepare

        prepare()  # if nothing is new, this process draws the plots


def _decode_ahead(config: AuditConfig, progress: Progress, workers: int | None) -> tuple[dict[str, float], int]:
    """Scan and decode into the store's shards; idempotent, so the flow's stages need not know.

    Returns
    -------
    dict, int
        Seconds per stage, by name; number of images decoded.
    """
    import shutil

    from dataprops.audit.composition import READ, stage
    from dataprops.audit.underway import UnderWay
    from dataprops.audit.workspace import start_run
    from dataprops.store.folder import locked, open_store
    from dataprops.util.tools import inline_tools

    spent: dict[str, float] = {}
    decoded = 0
    with locked(open_store(config.store), config.dataset):
        run = start_run(config)
        under_way = UnderWay(run)
        tools = inline_tools(under_way.progress(progress), workers)
        try:
            for name in READ:
                begin = time.perf_counter()
                under_way.stage(name)
                told = stage(name)(run, tools)
                decoded = getattr(told, "n_decoded", 0)
                spent[name] = time.perf_counter() - begin
        finally:
            shutil.rmtree(run.work, ignore_errors=True)
    return spent, decoded
