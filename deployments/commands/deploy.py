"""`dataprops deploy`."""

from __future__ import annotations

import click

from deployments.commands.common import quiet_prefect, show_changes
from flows.commands.common import at_the_edge

EXAMPLES = """\b
Examples:
  dataprops deploy datasets.toml           then: prefect worker start --pool dataprops
  dataprops deploy datasets.toml --check   only validate the file
"""


@click.command("deploy", epilog=EXAMPLES)
@click.argument("file", type=click.Path())
@click.option("--check", is_flag=True, help="Validate the file only; no server needed.")
@at_the_edge
def command(file: str, check: bool) -> None:
    """Deploy FILE (TOML) to the Prefect server: deployments, automations, channels.

    Unchanged objects are left alone; objects no longer in the file are removed.
    """
    quiet_prefect()
    from deployments.datasets import read_operations
    from deployments.deploy import deploy, require_server

    operations = read_operations(file)
    if check:
        grids = f"{len(operations.experiments)} experiments, " if operations.experiments else ""
        counts = f"{len(operations.datasets)} datasets, {grids}{len(operations.channels)} channels"
        click.echo(f"{file}: {counts}, valid")
        return
    require_server()
    show_changes(deploy(operations))
