"""`dataprops audit`. Imports what it needs when it runs: `--help` answers at once."""

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
from flows.commands.common import at_the_edge, stoppable
from flows.commands.options import asked, options_of

if TYPE_CHECKING:
    from rich.console import Console

    from dataprops.util.tools import Progress

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


@click.command("audit", epilog=EXAMPLES + "\n" + EXITS)
@click.argument("source")
@options_of(AuditConfig, leave_out=("source",))
@click.option("--inline", is_flag=True, help="Run in this process, without Prefect or Dask.")
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
    **options: Any,
) -> None:
    """Audit a dataset: a folder of images, a manifest (.csv, .parquet), or NAME:LOCATION.

    Writes Parquet tables, checks, and one HTML report into the store, and prints a summary.
    """
    # matplotlib would put its list of fonts into the home folder
    cache = Path(options["store"]).expanduser().resolve() / "cache"
    os.environ.setdefault("MPLCONFIGDIR", str(cache))
    if not _can_write(Path(__file__).parents[2] / "dataprops") and not _can_write(Path(os.path.expanduser("~"))):  # noqa: PTH111
        os.environ.setdefault("NUMBA_CACHE_DIR", str(cache / "numba"))  # else compiled anew by each process
    if inline:
        kernels.begin()  # takes longest: everything else happens beside it
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
    """Progress on the terminal while the context lasts, and a word of what is under way wherever nothing is counted.

    `otherwise` is said while no stage of an audit of this dataset is at work.
    """
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
        # a server takes seconds to start: decode meanwhile; the flow's own stage then finds the shards in place
        spent, decoded = _decode_ahead(config, progress, workers)
        from flows.audit import audit as flow
        from flows.audit import show_progress_on, took

        if decoded:
            kernels.begin()  # not before: beside the server it would take decoding its core
        _import_ahead(something_new=bool(decoded))
        ready()
        doing.append("telling the Prefect server")
        show_progress_on(progress)
        took(spent)
        return flow(asdict(config), cluster, workers)


def _import_ahead(*, something_new: bool) -> None:
    """Load what later stages import when they use it, while there is nothing else to do; with nothing new most are left out."""
    from dataprops.audit.composition import COMPUTE, TELL, stage

    for name in COMPUTE if something_new else TELL:
        stage(name)
    if not something_new:
        from dataprops.report.plots import prepare

        prepare()  # with nothing new this process draws


def _decode_ahead(config: AuditConfig, progress: Progress, workers: int | None) -> tuple[dict[str, float], int]:
    """Scan and decode into the shards of the store; idempotent, so that the flow's stages need not know of it.

    Returns
    -------
    dict, int
        Seconds that each stage took, by its name; and how many images were decoded.
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
