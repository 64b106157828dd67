"""The expected gain from twice as many images, from the reference classifier's learning curve."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dataprops.report.numbers import percent


def more_data(summary: Mapping[str, Any]) -> str | None:
    """Advice on collecting more images, from the learning curve; None if unknown."""
    probe = summary.get("probe") or {}
    gain = probe.get("gain_if_doubled")
    if not gain or gain.get("value") is None:
        return None
    loss = "squared error" if is_numeric(probe) else "log loss"
    interval = f" by {percent(gain['low'])} to {percent(gain['high'])}" if gain.get("low") is not None else ""
    if not surely_gains(gain):
        either = interval and gain["low"] < 0 < gain["high"]
        may = (
            f"may rise by {percent(-gain['low'])} or fall by {percent(gain['high'])}" if either else f"falls{interval}"
        )
        told = "hardly falls" if not gain["value"] else may if interval else "does not fall"
        return f"More images of this kind may not help: with twice as many, the {loss} {told}"
    error = doubled_error(probe)
    what = "the unexplained variance" if is_numeric(probe) else "error"
    told = f"{what} would fall from {percent(error[0])} to {percent(error[1])}; " if error else ""
    fall = f"{loss} falls by {percent(gain['value'])}{f' ({interval[4:]})' if interval else ''}"
    return f"Collect more: with twice as many images, {told}{fall}"


def surely_gains(gain: Mapping[str, Any]) -> bool:
    """Whether twice as many images help significantly: the interval, if there is one, is above 0."""
    return gain["value"] > 0 and (gain.get("low") is None or gain["low"] > 0)


def is_numeric(probe: Mapping[str, Any]) -> bool:
    """Whether the reference classifier is a regression (numeric labels)."""
    return probe.get("kind") == "numbers"


def no_better_than_guessing(summary: Mapping[str, Any]) -> str | None:
    """Advice if the reference classifier does not beat the majority-class baseline; otherwise None."""
    probe = summary.get("probe") or {}
    error, guessing = probe.get("error") or {}, probe.get("chance")
    if is_numeric(probe) or not guessing or error.get("high") is None or error["high"] < guessing:
        return None
    whom = "patients" if probe.get("grouped_by") == "group" else "images"
    return (
        f"Check labels and preprocessing before collecting more: the error of the reference classifier is"
        f" {percent(error['value'])} on held-out {whom} ({percent(error['low'])} to {percent(error['high'])}), that of always"
        f" predicting the largest class {percent(guessing)}"
    )


def doubled_error(probe: Mapping[str, Any]) -> tuple[float, float] | None:
    """Error now, and with twice as many images by the power law through the curve's last two points; None if it is flat.

    For a regression, the unexplained variance, reduced by the gain.
    """
    if is_numeric(probe):
        gain = (probe.get("gain_if_doubled") or {}).get("value")
        return (probe["error"]["value"], probe["error"]["value"] * (1 - gain)) if gain else None
    curve = [p for p in probe.get("curve") or () if p.get("error") and p.get("n")]
    if len(curve) < 2 or curve[-1]["n"] <= curve[-2]["n"] or curve[-1]["error"] >= curve[-2]["error"]:
        return None
    (n0, e0), (n1, e1) = ((p["n"], p["error"]) for p in curve[-2:])
    return e1, e1 * 2 ** (math.log(e1 / e0) / math.log(n1 / n0))
