"""`dataprops notify`."""

from __future__ import annotations

import click

from deployments.commands.common import quiet_prefect
from flows.commands.common import at_the_edge

EXAMPLES = """\b
Examples:
  dataprops notify chest
  dataprops notify chest --added 120 --reason "nightly export"
"""


@click.command("notify", epilog=EXAMPLES)
@click.argument("name")
@click.option("--added", type=click.IntRange(0), default=0, help="Number of new files, shown with the run.")
@click.option("--changed", type=click.IntRange(0), default=0)
@click.option("--removed", type=click.IntRange(0), default=0)
@click.option("--reason", default="", help="Shown with the run instead of the counts.")
@at_the_edge
def command(name: str, reason: str, **counts: int) -> None:
    """Report new data for the deployed dataset NAME, which starts an audit."""
    quiet_prefect()
    from dataprops.errors import DatapropsError
    from deployments.deploy import deployed_datasets, require_server
    from tasks.events import ARRIVED, event, send_events

    require_server()
    known = deployed_datasets()
    if name not in known:
        there = f"deployed datasets are {', '.join(sorted(known))}" if known else "run `dataprops deploy FILE` first"
        raise DatapropsError(f"no dataset {name!r} is deployed: {there}")
    payload = {"dataset": name, **{what: count for what, count in counts.items() if count}}
    told = event(ARRIVED, name, payload | ({"reason": reason} if reason else {}))
    send_events([told])
    click.echo(f"sent       dataset.arrived {name} (event {told['id']})")
