"""Predictions for a source, and the finished audit they are based on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dataprops.audit.config import AuditConfig
from dataprops.laws.calibrations import Calibration, read_key, reason_not_applicable
from dataprops.laws.forecast import expected_loss, expected_penalty, measured_numbers
from dataprops.laws.paper import PAPER_SCALE, PAPER_SIZE
from dataprops.laws.predictions import PREDICTIONS, Measured, predict
from dataprops.store.folder import finished_runs, load_summary, readable


def audit_options(calibration: Calibration | None) -> dict[str, Any]:
    """Audit options that match a calibration; without one, those of the paper."""
    if calibration is None:
        return {"size": PAPER_SIZE, "scale": PAPER_SCALE}
    kinds = [read_key(key)[0] for key in calibration.preprocess]
    channels = {kind.channels for kind in kinds}
    options: dict[str, Any] = {"size": kinds[0].size, "scale": kinds[0].scale}
    return options | ({"channels": channels.pop()} if len(channels) == 1 else {})


def serving_audit(store: Path, config: AuditConfig, calibration: Calibration | None) -> Path | None:
    """The newest audit of this source in the store that predictions can be based on, or None."""
    for folder, summary in readable(reversed(finished_runs(store, config.dataset))):
        if _same_source(summary["source"], config.source):
            prediction = expected_penalty(summary, peaks_of(folder), calibration)
            if prediction.calibration is not None and (calibration is None or prediction.calibration == calibration.id):
                return folder
            if calibration is not None and not reason_not_applicable(calibration, summary, peaks_of(folder)):
                return folder  # a calibration without attacks
    return None


def _same_source(one: str, other: str) -> bool:
    paths = [Path(source).expanduser() for source in (one, other)]
    return one == other or (all(p.exists() for p in paths) and paths[0].resolve() == paths[1].resolve())


def peaks_of(folder: Path) -> np.ndarray:
    """Largest grey level of each readable image of a finished audit, int [n]."""
    images = pd.read_parquet(folder / "images.parquet", columns=["pixels", "peak"])
    return images.loc[images["pixels"].notna(), "peak"].to_numpy()


def forecast(folder: Path, calibration: Calibration | None, target_loss: float | None = None) -> dict[str, Any]:
    """All predictions for an audited dataset.

    Parameters
    ----------
    folder : Path
        Results of the audit.
    calibration : Calibration or None
        Calibration of the store.
    target_loss : float, optional
        Test loss (nats) for which to estimate the images needed.

    Returns
    -------
    dict
        dataset, run_id, created, preprocess, properties {n_train, d_data, k_f, m}, calibration (id, or name of the paper's table;
        None if nothing could be predicted), predictions, report.
    """
    summary, peaks = load_summary(folder), peaks_of(folder)
    given = Measured(summary, peaks, calibration, target_loss=target_loss)
    predictions = predict(given, {name: row for name, row in PREDICTIONS.items() if row.calibrated})
    if calibration is None:  # use the shipped calibration, or say how to get one
        predictions = [
            expected_loss(summary, peaks, None) if p.name == "test_loss" and p.withheld else p for p in predictions
        ]
    told = [p.as_dict() for p in predictions]
    # predictions without calibration are taken from the audit
    told += [p for p in summary["predictions"] if p["name"] in PREDICTIONS and not PREDICTIONS[p["name"]].calibrated]
    used = [p.calibration for p in predictions if p.calibration]
    return {
        "dataset": summary["dataset"],
        "run_id": summary["run_id"],
        "created": summary["created"],
        "preprocess": summary["preprocess"],
        "properties": measured_numbers(summary),
        "calibration": used[0] if used else None,
        "predictions": told,
        "report": summary["report"],
    }
