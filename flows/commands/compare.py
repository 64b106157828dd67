"""`dataprops compare`. Heavy imports are deferred, so `--help` is fast."""

from __future__ import annotations

import click

from flows.commands.common import at_the_edge, show
from flows.commands.options import AS_JSON, STORE

EXAMPLES = """\b
Examples:
  dataprops compare scans latest --store audits    the last two audits of a dataset
  dataprops compare scans 20261101T030000Z-ab12    an earlier run and the latest
  dataprops compare 20261101T030000Z-ab12 20261124T030000Z-cd34 --json | jq .drift

\b
Exit code: 0 shown, 2 usage error, or runs that are not comparable (the message says why).
"""


@click.command("compare", epilog=EXAMPLES)
@click.argument("a")
@click.argument("b")
@STORE
@AS_JSON
@at_the_edge
def command(a: str, b: str, store: str, as_json: bool) -> None:
    """Compare two audits: run ids A and B, or a dataset A and its `latest` (or `previous`, or a run id).

    Each change has a 95 % interval: if it includes 0, the change may be sampling noise. Findings in new images are listed.
    """
    from dataprops.audit.comparison import compare
    from dataprops.audit.history import find_runs
    from dataprops.report.terminal_history import print_comparison
    from dataprops.store.folder import existing_store

    show(compare(*find_runs(existing_store(store), a, b)), as_json, print_comparison)
