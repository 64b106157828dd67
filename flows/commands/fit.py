"""`dataprops fit`. Heavy imports are deferred, so `--help` is fast."""

from __future__ import annotations

from pathlib import Path

import click

from dataprops.audit.config import AuditConfig
from flows.commands.common import at_the_edge, caches_of, show
from flows.commands.options import AS_JSON

EXAMPLES = """\b
Examples:
  dataprops fit --store audits                     all experiments of the store; saved as its calibration
  dataprops fit --table losses.csv --json          your own table; nothing is written
  dataprops fit --table losses.csv --store audits  your own table; saved as the store's calibration
"""

EXITS = """\b
Exit code: 0 fitted, as far as the columns allow; 2 usage error or unusable input.
"""


@click.command("fit", epilog=EXAMPLES + "\n" + EXITS)
@click.option("--store", help=f"Folder with experiments/ [default without --table: {AuditConfig.store}].")
@click.option("--table", type=click.Path(), help="CSV or Parquet to fit instead of the store's experiments.")
@click.option(
    "--preprocess", help="Preprocessing key of the rows to fit, if there are several, e.g. 224x224-per-image-max-v1."
)
@click.option("--seed", default=0, show_default=True, help="Random seed of the bootstrap.")
@AS_JSON
@at_the_edge
def command(store: str | None, table: str | None, preprocess: str | None, seed: int, as_json: bool) -> None:
    """Fit the scaling laws to trained networks, and save them as the calibration for later predictions.

    Reports slopes and correlations with bootstrap intervals over whole datasets, the error on held-out datasets, and two
    baselines to beat: the mean, and log N alone. Predictors based on the reference classifier are evaluated the same way,
    holding out one source at a time, if the table has their columns.
    """
    from dataprops.report.terminal_laws import print_fit

    show(_fit(store, table, preprocess, seed), as_json, print_fit)


def _fit(store: str | None, table: str | None, preprocess: str | None, seed: int) -> dict:
    from dataclasses import replace

    from dataprops.laws.calibrations import save_calibration
    from dataprops.laws.fitting.fit import fit_laws
    from dataprops.laws.fitting.forms import judged_forms
    from dataprops.laws.fitting.table import one_preprocessing, read_experiments, read_table
    from dataprops.laws.networks import fitted_networks
    from dataprops.report.figures import calibration_figures
    from dataprops.store.folder import open_store

    folder = None
    if table is None or store is not None:
        folder = open_store(store or AuditConfig.store)
        caches_of(folder)
    rows = read_experiments(folder) if table is None and folder is not None else read_table(table or "")
    source = str(Path(table)) if table else f"{rows['experiment'].nunique()} experiments of the store"
    rows = one_preprocessing(rows, preprocess)
    fit = fit_laws(rows, seed=seed)
    fit = replace(fit, result=fit.result | {"forms": judged_forms(rows)})
    kept = (
        None
        if folder is None
        else save_calibration(
            folder, fit, source, calibration_figures(fit.points.table, fit.lines), fitted_networks(rows)
        )
    )
    return fit.result | {
        "source": source,
        "calibration": None if kept is None else kept.id,
        "folder": None if kept is None else str(kept.folder),
    }
