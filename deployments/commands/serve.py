"""`dataprops serve`."""

from __future__ import annotations

import click

from deployments.commands.common import quiet_prefect, show_changes, show_log
from flows.commands.common import at_the_edge

EXAMPLES = """\b
Examples:
  dataprops serve datasets.toml
  dataprops serve datasets.toml --host 0.0.0.0 --port 8080   serve the network: read deployments/README.md first
"""


@click.command("serve", epilog=EXAMPLES)
@click.argument("file", type=click.Path())
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address on which to serve the results.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port for the results [default: from base_url in the file]."
)
@click.option("--no-watch", is_flag=True, help="Do not watch folders; use `dataprops watch` elsewhere.")
@at_the_edge
def command(file: str, host: str, port: int | None, no_watch: bool) -> None:
    """Run the audits of FILE on this machine: deploy, run what is due, watch for new data, serve the results.

    Runs until Ctrl-C. Needs a Prefect server (PREFECT_API_URL).
    """
    quiet_prefect()
    from urllib.parse import urlsplit

    from dataprops.store.folder import open_store
    from deployments.datasets import read_operations
    from deployments.deploy import deploy, require_server
    from deployments.operate import run_worker, watching
    from deployments.server import serving

    operations = read_operations(file)
    require_server(patience=60.0)
    open_store(operations.store)
    at = port if port is not None else urlsplit(operations.base_url).port or 4280
    show_log()
    with serving(operations.store, host, at, operations.base_url) as served:
        show_changes(deploy(operations))
        click.echo(f"results    http://{host}:{served}/")
        with watching(operations, () if no_watch else operations.datasets):
            run_worker(operations.pool)
