"""The predictions of an audit, one row each: name, title, function, and the measure exposed to checks.

`summary.json`, the report, the terminal, `dataprops predict` and the alerts are all driven by this table.
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
    """The inputs of the predictions.

    Attributes
    ----------
    summary : mapping
        Summary of the audit, as far as it has been measured.
    peaks : int [n]
        Largest grey level of each readable image, see `calibrations.reason_not_applicable`.
    calibration : Calibration or None
        The newest one in the store.
    previous : mapping or None
        Summary of the previous audit.
    change : mapping or None
        Paired change of the probe since that audit (`change.probe_change`); None: the files are unchanged.
    target_loss : float or None
        Nats; set if the user asks for the number of images needed to reach it.
    """

    summary: Mapping[str, Any]
    peaks: np.ndarray
    calibration: Calibration | None = None
    previous: Mapping[str, Any] | None = None
    target_loss: float | None = None
    change: Mapping[str, Any] | None = None

    def of_network(self, name: str) -> Prediction:
        """A prediction from the probe: by the store's own networks if their form clearly beats log N, else by the shipped ones."""
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
        Key in `summary.json`.
    title : str
        Heading.
    predict : callable
        `Measured` -> Prediction, or None if it was not requested.
    measure : str
        Name under which checks see its value, and with ``_low`` the lower end of its interval; "": not exposed.
    calibrated : bool
        Whether it uses the store's calibration, and so must be recomputed after a new fit.
    """

    name: str
    title: str
    predict: Callable[[Measured], Prediction | None]
    measure: str = ""
    calibrated: bool = False


def _test_loss(given: Measured) -> Prediction:
    """From the store's calibration if it gives a number (probe first, then law), else from the shipped one."""
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
    """All predictions for a measured set, each a number or the reason why it is withheld, in table order."""
    made = [row.predict(given) for row in rows.values()]
    return [prediction for prediction in made if prediction is not None]


def predicted_measures(predictions: list[Prediction]) -> dict[str, float]:
    """The predicted values exposed to checks; withheld ones are absent."""
    out: dict[str, float] = {}
    for prediction in predictions:
        row = PREDICTIONS.get(prediction.name)
        if row is not None and row.measure and prediction.withheld is None:
            out[row.measure] = prediction.value or 0.0
            if prediction.name != "log_loss_change":  # the finding counts only the excess over the expected change
                out[f"{row.measure}_low"] = prediction.low or 0.0
    return out
