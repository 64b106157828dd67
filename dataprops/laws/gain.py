"""What twice as many images would bring: measured on the set by the probe's learning curve, never read off a law.

The generalization law says 2^(-1/d) - 1. On this project's own networks that held in 2 of 72 checks (laws/README.md), so it is not
told. The probe is trained on an eighth, a quarter, half and all of the images, and its curve is continued to twice as many.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dataprops.laws.networks import doubling
from dataprops.laws.prediction import Prediction
from dataprops.util.numbers import percent

NO_PROBE = "it is measured by the probe, and this audit has none"


def _worth(score: Mapping[str, Any]) -> str:
    """What such a curve was worth for networks, where it was tried."""
    further = score["elsewhere"]
    own, mean, there, mean_there = (
        f"{math.exp(which[name]):.2f}" for which in (score, further) for name in ("miss", "baseline_miss")
    )
    apart = "is indistinguishable from the mean" if further["gain"]["low"] <= 0 else "is clearly better"
    return (
        f" Networks' own log loss after doubling was missed by a factor of {own} by such curves, of {mean} by the mean change of the"
        f" other sources ({score['sources']} sources); on {further['sources']} from elsewhere by {there} and {mean_there}: there the"
        f" curve {apart}."
    )


def loss_if_doubled(probe: Mapping[str, Any] | None, withheld: str | None = None) -> Prediction:
    """The relative change of the reference classifier's log loss when the set doubles; negative is better.

    Parameters
    ----------
    probe : mapping or None
        Of a summary: `gain_if_doubled` {value, low, high}, the fraction by which the loss falls, or None with `withheld`.
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
    if probe.get("kind") != "numbers":  # networks were trained for classes
        worth = _worth(doubling())
    if more:
        further = f", four times as many by about {percent(more['value'])} ({percent(more['low'])} to {percent(more['high'])})"
    return Prediction(
        name,
        value,
        low,
        high,
        "relative",
        "learning curve of the reference classifier at an eighth, a quarter, half and all of the images; bootstrap over groups",
        f"Twice as many images of this kind are expected to {fall} ({interval}){further}.{worth}",
        significant=high < 0 or low > 0,
        score=doubling(),
    )
