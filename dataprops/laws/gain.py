"""Expected gain from twice as many images, extrapolated from the probe's learning curve on the set itself.

The generalization law predicts a change of 2^(-1/d) - 1. That held in 2 of 72 checks on this project's networks (laws/README.md),
so it is not reported. The probe is trained on 1/8, 1/4, 1/2 and all of the images, and its curve is extrapolated to twice as many.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dataprops.laws.networks import doubling
from dataprops.laws.prediction import Prediction
from dataprops.util.numbers import percent

NO_PROBE = "it is measured with the probe, which this audit does not have"


def _worth(score: Mapping[str, Any]) -> str:
    """How well such curves predicted the gain of networks."""
    further = score["elsewhere"]
    own, mean, there, mean_there = (
        f"{math.exp(which[name]):.2f}" for which in (score, further) for name in ("miss", "baseline_miss")
    )
    apart = "not distinguishable from the mean" if further["gain"]["low"] <= 0 else "clearly better than the mean"
    return (
        f" For the log loss of networks after doubling, such curves are off by a factor of {own} and the mean change of the other"
        f" sources by {mean} ({score['sources']} sources); on {further['sources']} independent sources by {there} and {mean_there}:"
        f" there the curve is {apart}."
    )


def loss_if_doubled(probe: Mapping[str, Any] | None, withheld: str | None = None) -> Prediction:
    """Relative change in the reference classifier's log loss when the set doubles; negative is better.

    Parameters
    ----------
    probe : mapping or None
        A summary's `probe`: `gain_if_doubled` {value, low, high}, the fraction by which the loss falls, or None with `withheld`.
    withheld : str, optional
        Why there is no probe.
    """
    name = "loss_if_doubled"
    if probe is None:
        return Prediction(name, withheld=f"{NO_PROBE}{': ' + withheld if withheld else ''}")
    gain = probe.get("gain_if_doubled")
    if gain is None:
        return Prediction(name, withheld=probe.get("withheld") or NO_PROBE, score=doubling())
    value, low, high = -gain["value"], -gain["high"], -gain["low"]
    interval = f"95 % interval {percent(gain['low'])} to {percent(gain['high'])}"
    loss = "log loss of the reference classifier"
    if probe.get("kind") == "numbers":
        loss = "squared error of the reference regression"
    fall, more = f"lower the {loss} by about {percent(gain['value'])}", probe.get("gain_if_quadrupled")
    if gain["value"] <= 0:
        fall, more = f"not lower the {loss}", None
    further, worth = "", ""
    if probe.get("kind") != "numbers":  # the networks were trained on classes
        worth = _worth(doubling())
    if more:
        further = f", four times as many by about {percent(more['value'])} ({percent(more['low'])} to {percent(more['high'])})"
    return Prediction(
        name,
        value,
        low,
        high,
        "relative",
        "learning curve of the reference classifier at 1/8, 1/4, 1/2 and all of the images; bootstrap over groups",
        f"Twice as many images of this kind are expected to {fall} ({interval}){further}.{worth}",
        significant=high < 0 or low > 0,
        score=doubling(),
    )
