"""Stage 7: predictions, checks and alerts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from dataprops.audit.columns import TABLES
from dataprops.audit.judged import judge_of
from dataprops.audit.matched import same_files
from dataprops.audit.property_changes import SAME_FILES
from dataprops.audit.records import Checked
from dataprops.audit.summary import base_summary, property_measures
from dataprops.audit.workspace import Run
from dataprops.checks.alerts import raise_alerts
from dataprops.checks.expectations import run_checks
from dataprops.checks.thresholds import load_thresholds
from dataprops.laws.calibrations import newest_calibration
from dataprops.laws.networks import attack_risk
from dataprops.laws.prediction import Prediction
from dataprops.laws.predictions import Measured, predict, predicted_measures
from dataprops.report.first_screen import steps_of, verdict_of
from dataprops.store.folder import previous_summary
from dataprops.util.tools import Tools

ALERT_COLUMNS = list(TABLES["alerts"].columns)


def check(run: Run, tools: Tools) -> Checked:
    """Predictions, checks and alerts."""
    files = run.files
    checks = load_thresholds(run.config.thresholds)
    images, properties, found = files.images.read(), files.properties.read(), files.findings.read()
    summary = base_summary(run, properties=properties, images=images, findings=found)
    previous = previous_summary(Path(run.store), run.config.dataset, run.run_id)
    peaks = images.loc[images["pixels"].notna(), "peak"].to_numpy()
    change = files.change.read() if files.change.path.is_file() else None
    predictions = predict(Measured(summary, peaks, newest_calibration(Path(run.store)), previous, change=change))
    if previous is not None and same_files(run.results.parent / previous["run_id"], images):
        predictions = [_unchanged(prediction, previous["run_id"]) for prediction in predictions]
    summary |= {"risk": attack_risk(summary.get("probe"), predictions)}
    numbers = predicted_measures(predictions) | property_measures(summary) | files.measures.read()
    outcome = run_checks(numbers, images, properties, checks, files.data_docs, judge_of(run))
    alerts = raise_alerts(numbers, checks, found, outcome.results, predictions)
    files.checks.write(outcome.results)
    files.alerts.write(pd.DataFrame([alert.as_dict() for alert in alerts], columns=ALERT_COLUMNS))
    done = outcome.results["success"]
    counts = {
        "passed": int(done.fillna(False).sum()),
        "failed": int((~done.fillna(True)).sum()),
        "skipped": int(done.isna().sum()),
    }
    told = {"alerts": [alert.as_dict() for alert in alerts]}
    files.summary.write(
        summary
        | told
        | {
            "verdict": verdict_of(told)._asdict(),
            "next": [step.text for step in steps_of(summary | told, found)],
            "predictions": [prediction.as_dict() for prediction in predictions],
            "checks": {**counts, "success": outcome.success},
            "previous": None if previous is None else previous["run_id"],
            "data_docs": str(run.results / "data_docs" / "index.html"),
        }
    )
    return Checked(**counts, alerts=len(alerts))


def _unchanged(prediction: Prediction, before: str) -> Prediction:
    """Set the change of the loss between audits of the same files to exactly 0."""
    if prediction.name != "log_loss_change" or prediction.value is None or abs(prediction.value) > SAME_FILES:
        return prediction
    sentence = f"Files and labels are the same as in run {before}, and so is the expected test loss."
    return replace(prediction, value=0.0, low=0.0, high=0.0, sentence=sentence, significant=False)
