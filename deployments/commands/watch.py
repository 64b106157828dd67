"""`dataprops watch`."""

from __future__ import annotations

import sys

import click

from deployments.commands.common import quiet_prefect, show_log
from flows.commands.common import at_the_edge

EXAMPLES = """\b
Examples:
  dataprops watch datasets.toml          all datasets of the file with a `watch` key
  dataprops watch datasets.toml chest    one of them
  dataprops watch datasets.toml --once   check once, report what is new, exit: for cron
"""


@click.command("watch", epilog=EXAMPLES)
@click.argument("file", type=click.Path())
@click.argument("names", nargs=-1)
@click.option("--once", is_flag=True, help="Check once and exit.")
@at_the_edge
def command(file: str, names: tuple[str, ...], once: bool) -> None:
    """Watch folders and remote prefixes, and emit `dataset.arrived` when files arrive, which starts an audit."""
    quiet_prefect()
    from dataprops.errors import DatapropsError
    from dataprops.store.folder import open_store
    from deployments.datasets import read_operations
    from deployments.deploy import require_server
    from deployments.operate import chosen, look_after_once, wait_for_signal, watching
    from deployments.watcher import Watcher
    from tasks.events import send_events

    operations = read_operations(file)
    datasets = [dataset for dataset in chosen(operations, names) if dataset.watch]
    if not datasets:
        raise DatapropsError(f'{file}: no dataset to watch: set `watch = "FOLDER"` for one')
    require_server()
    open_store(operations.store)
    show_log()
    if once:
        for dataset in datasets:
            told = Watcher(dataset, operations.store, send_events).once()
            click.echo(f"{dataset.name}: {'new data, told' if told else 'nothing new'}")
        look_after_once(operations)
        sys.exit(0)
    with watching(operations, datasets) as watchers:
        for watcher in watchers:
            click.echo(f"watching   {watcher.dataset.watch} ({watcher.dataset.name})")
        wait_for_signal()
