"""`dataprops predict`. Heavy imports are deferred, so `--help` is fast."""

from __future__ import annotations

from typing import Any

import click

from dataprops.audit.config import AuditConfig
from dataprops.options import rows
from flows.commands.common import at_the_edge, caches_of, show
from flows.commands.options import AS_JSON, QUIET, option_of

EXAMPLES = """\b
Examples:
  dataprops predict scans/ --store audits          test loss, with and without an attack
  dataprops predict scans/ --store audits --target-loss 0.2
  dataprops predict scans.csv --name scans         a dataset audited before with more options
"""

EXITS = """\b
Exit code: 0 predicted, or withheld with a reason; 2 usage error or unusable input.
"""


@click.command("predict", epilog=EXAMPLES + "\n" + EXITS)
@click.argument("source")
@click.option("--store", default=AuditConfig.store, show_default=True, help="Folder with the calibration and audits.")
@click.option("--name", default="", help="Name of the dataset in the store [default: from SOURCE].")
@click.option(
    "--target-loss",
    type=click.FloatRange(0, min_open=True),
    help="Estimate the images needed for this test loss, nats.",
)
@option_of(rows(AuditConfig)["labels"])
@click.option("--again", is_flag=True, help="Audit SOURCE again even if the store has a usable audit.")
@AS_JSON
@QUIET
@at_the_edge
def command(
    source: str,
    store: str,
    name: str,
    target_loss: float | None,
    labels: str,
    again: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Predict the test loss of networks trained on a dataset, and its increase under attack.

    Uses the store's newest calibration (`dataprops fit`), otherwise the shipped one; at 224 x 224 the paper's eleven datasets
    are shown for comparison. Uses the newest audit of SOURCE with the calibration's preprocessing; if there is none, SOURCE is
    audited first.
    """
    caches_of(store)
    from dataprops.report.terminal_laws import print_predictions

    config = AuditConfig(source=source, store=store, name=name, labels=labels)
    show(_predict(config, target_loss, again, quiet), as_json, print_predictions)


def _predict(config: AuditConfig, target_loss: float | None, again: bool, quiet: bool) -> dict[str, Any]:
    from dataprops.audit.serving import audit_options, forecast, serving_audit
    from dataprops.laws.calibrations import newest_calibration
    from dataprops.store.folder import open_store

    store = open_store(config.store)
    calibration = newest_calibration(store)
    folder = None if again else serving_audit(store, config, calibration)
    if folder is None:
        from dataclasses import replace

        from dataprops.audit.composition import run_stages
        from dataprops.util.tools import inline_tools
        from flows.commands.audit import progress_shown

        wanted = replace(config, **audit_options(calibration), reason="for a prediction")
        folder = run_stages(wanted, inline_tools(progress_shown(quiet)))
    return forecast(folder, calibration, target_loss)
