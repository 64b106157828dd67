"""What an audit predicts, one row for each: its name, its words, how it is made, and what checks may look at.

A row is the whole of a prediction: `summary.json`, the report, the terminal, `dataprops predict` and the alerts take it from here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from dataprops.laws.calibrations import Calibration
from dataprops.laws.change import probe_change
from dataprops.laws.forecast import expected_loss, expected_penalty, images_for_loss, not_by_own
from dataprops.laws.gain import loss_if_doubled
from dataprops.laws.networks import network_prediction, reason_no_networks
from dataprops.laws.prediction import Prediction


class Measured(NamedTuple):
    """What predictions are made from.

    Attributes
    ----------
    summary : mapping
        Of the audit, as far as it is measured.
    peaks : int [n]
        Largest grey level of each readable image, see `calibrations.reason_not_applicable`.
    calibration : Calibration or None
        The store's newest.
    previous : mapping or None
        Summary of the audit before.
    change : mapping or None
        Paired change of the probe since that audit (`change.probe_change`); None: its files are the same.
    target_loss : float or None
        Nats, where a user asks how many images would reach it.
    """

    summary: Mapping[str, Any]
    peaks: np.ndarray
    calibration: Calibration | None = None
    previous: Mapping[str, Any] | None = None
    target_loss: float | None = None
    change: Mapping[str, Any] | None = None

    def of_network(self, name: str) -> Prediction:
        """A prediction from the probe: by the store's own networks where their form clearly beats log N, else by those that ship."""
        probe, withheld = self.summary.get("probe"), self.summary.get("probe_withheld")
        shipped = network_prediction(name, probe, withheld)
        if self.calibration is None or probe is None:
            return shipped
        if self.calibration.networks is None:
            return not_by_own(shipped, reason_no_networks(self.calibration.fit.get("forms")))
        own = network_prediction(name, probe, withheld, self.calibration.networks)
        return not_by_own(shipped, own.withheld) if own.withheld else own


class PredictionRow(NamedTuple):
    """A prediction.

    Attributes
    ----------
    name : str
        As in `summary.json`.
    title : str
        Its heading.
    predict : callable
        `Measured` -> Prediction; None where nobody asked.
    measure : str
        Under which name a check may look at its value, and with ``_low`` at the lower end of its interval; "": none does.
    calibrated : bool
        Whether it rests on the store's calibration, so that a later one makes it anew.
    """

    name: str
    title: str
    predict: Callable[[Measured], Prediction | None]
    measure: str = ""
    calibrated: bool = False


def _test_loss(given: Measured) -> Prediction:
    """By the store's calibration where it has a number, from the probe before the law; else by the shipped one."""
    network = given.of_network("test_loss")
    if given.calibration is None or network.calibration is not None:
        return network
    own = expected_loss(given.summary, given.peaks, given.calibration)
    if own.withheld and network.withheld is None:
        return not_by_own(network, f"{network.unused}; its law: {own.withheld}")
    return own


def _images_needed(given: Measured) -> Prediction | None:
    if given.target_loss is None:
        return None
    return images_for_loss(given.summary, given.peaks, given.calibration, given.target_loss)


PREDICTIONS: dict[str, PredictionRow] = {
    row.name: row
    for row in (
        PredictionRow(
            "log_loss_change",
            "Change of the test loss since the previous audit",
            lambda given: probe_change(given.change, given.previous, given.summary),
            measure="predicted_log_loss_change",
        ),
        PredictionRow(
            "attack_penalty",
            "Loss under attack",
            lambda given: expected_penalty(given.summary, given.peaks, given.calibration),
            measure="predicted_penalty",
            calibrated=True,
        ),
        PredictionRow("test_loss", "Test loss", _test_loss, calibrated=True),
        PredictionRow("images_needed", "Images needed", _images_needed, calibrated=True),
        PredictionRow("test_error", "Test error", lambda given: given.of_network("test_error"), calibrated=True),
        PredictionRow(
            "network_penalty",
            "Loss under attack, from the probe",
            lambda given: given.of_network("network_penalty"),
            calibrated=True,
        ),
        PredictionRow(
            "loss_if_doubled",
            "Gain from more images",
            lambda given: loss_if_doubled(given.summary.get("probe"), given.summary.get("probe_withheld")),
        ),
    )
}


def predict(given: Measured, rows: Mapping[str, PredictionRow] = PREDICTIONS) -> list[Prediction]:
    """Every prediction for a measured set, a number or the reason why it is withheld, in the order of the table."""
    made = [row.predict(given) for row in rows.values()]
    return [prediction for prediction in made if prediction is not None]


def predicted_measures(predictions: list[Prediction]) -> dict[str, float]:
    """The predicted numbers that checks use; withheld ones are absent."""
    out: dict[str, float] = {}
    for prediction in predictions:
        row = PREDICTIONS.get(prediction.name)
        if row is not None and row.measure and prediction.withheld is None:
            out[row.measure] = prediction.value or 0.0
            if prediction.name != "log_loss_change":  # the finding counts only what goes beyond the number of images
                out[f"{row.measure}_low"] = prediction.low or 0.0
    return out
