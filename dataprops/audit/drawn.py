"""Plots of measured properties, drawn in the helper process (`util.helper`) while the main process trains the probe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataprops.audit.summary import labels_record, sharpness_record
from dataprops.audit.workspace import Run
from dataprops.util import helper

if TYPE_CHECKING:
    from dataprops.report.plots import Plot

_begun: dict[str, helper.Job] = {}


def begin(run: Run) -> None:
    """Submit the plots; the tables of `measure` must be written."""
    _begun[run.run_id] = helper.submit(__name__, "draw", run)


def forget(run: Run) -> None:
    """Drop the job."""
    _begun.pop(run.run_id, None)


def taken(run: Run) -> helper.Job | None:
    """The job, which returns the result of `draw`; None if it was never submitted."""
    return _begun.pop(run.run_id, None)


def draw(run: Run) -> dict[str, Plot]:
    """Draw the plots in this process."""
    from dataprops.report.plots import Drawn, measured_plots

    files = run.files
    images, properties = files.images.read(), files.properties.read()
    summary = {
        "labels": labels_record(files.scanned.read().label_kind, images),
        "label_sharpness": sharpness_record(properties, run.config.draws),
    }
    return measured_plots(Drawn(summary, {"images": images, "properties": properties}))
