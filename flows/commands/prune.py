"""`dataprops prune`. Heavy imports are deferred, so `--help` is fast."""

from __future__ import annotations

import click

from flows.commands.common import at_the_edge
from flows.commands.options import STORE

EXAMPLES = """\b
Examples:
  dataprops prune --store audits --keep-last 30              show what would be deleted, and its size
  dataprops prune --store audits --keep-last 30 --yes
  dataprops prune --keep-last 5 --keep-days 90 --shards --yes  keeps the last 5, those of 90 days, and shards in use

\b
Exit code: 0 shown or done, 2 usage error.
"""


@click.command("prune", epilog=EXAMPLES)
@STORE
@click.option("--keep-last", type=click.IntRange(1), help="Keep the N newest runs of each dataset.")
@click.option(
    "--keep-days", type=click.FloatRange(0), help="Keep each dataset's runs of the N days before its newest run."
)
@click.option("--shards", is_flag=True, help="Also delete decoded images that no kept run or file list refers to.")
@click.option("--yes", is_flag=True, help="Delete; without it, only show what would be deleted.")
@at_the_edge
def command(store: str, keep_last: int | None, keep_days: float | None, shards: bool, yes: bool) -> None:
    """Delete old results and leftovers of killed runs.

    A run is kept if --keep-last or --keep-days keeps it; without either, all runs are kept. The newest run of a dataset is always
    kept, and a dataset that is being audited is skipped.
    """
    from dataprops.store.folder import existing_store
    from dataprops.store.prune import Policy, holding, plan, remove

    folder = existing_store(store)
    with holding(folder, shards) as (free, busy):
        going = plan(folder, Policy(keep_last, keep_days, shards), free, busy)
        for name in busy:
            click.echo(f"{name} is being audited: skipped", err=True)
        for item in going:
            click.echo(f"{_amount(item.bytes):>10}  {item.paths[0].relative_to(folder)}: {item.why}")
        total = _amount(sum(item.bytes for item in going))
        if not going:
            click.echo("nothing to delete")
        elif yes:
            remove(folder, going)
            click.echo(f"deleted {total}")
        else:
            click.echo(f"{total} would be deleted; pass --yes to delete")


def _amount(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
