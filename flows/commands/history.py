"""`dataprops history`. Imports what it needs when it runs: `--help` answers at once."""

from __future__ import annotations

import click

from dataprops.audit.config import AuditConfig
from flows.commands.common import at_the_edge, show

EXAMPLES = """\b
Examples:
  dataprops history scans --store audits           every audit of it, and what drifted between them
  dataprops history scans --last 10 --json | jq '.runs[] | {run_id, d_data, drift}'

\b
Exit code: 0 shown, 2 wrong usage or no finished audit.
"""


@click.command("history", epilog=EXAMPLES)
@click.argument("name")
@click.option("--store", default=AuditConfig.store, show_default=True, help="Folder with the audits.")
@click.option("--last", type=click.IntRange(1), help="Show only the N newest runs.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, and nothing else there.")
@at_the_edge
def command(name: str, store: str, last: int | None, as_json: bool) -> None:
    """Show the audits of the dataset NAME, and what changed by more than sampling noise from each to the next."""
    from dataprops.audit.history import timeline
    from dataprops.report.terminal_history import print_history
    from dataprops.store.folder import existing_store

    runs = timeline(existing_store(store), name, last)
    show({"dataset": name, "runs": runs}, as_json, lambda _, console: print_history(name, runs, console))
