"""`dataprops history`. Heavy imports are deferred, so `--help` is fast."""

from __future__ import annotations

import click

from flows.commands.common import at_the_edge, show
from flows.commands.options import AS_JSON, STORE

EXAMPLES = """\b
Examples:
  dataprops history scans --store audits           all audits, and the drift between them
  dataprops history scans --last 10 --json | jq '.runs[] | {run_id, d_data, drift}'

\b
Exit code: 0 shown, 2 usage error or no finished audit.
"""


@click.command("history", epilog=EXAMPLES)
@click.argument("name")
@STORE
@click.option("--last", type=click.IntRange(1), help="Show only the N newest runs.")
@AS_JSON
@at_the_edge
def command(name: str, store: str, last: int | None, as_json: bool) -> None:
    """List the audits of dataset NAME, and what changed beyond sampling noise from each to the next."""
    from dataprops.audit.history import timeline
    from dataprops.report.terminal_history import print_history
    from dataprops.store.folder import existing_store

    runs = timeline(existing_store(store), name, last)
    show({"dataset": name, "runs": runs}, as_json, lambda _, console: print_history(name, runs, console))
