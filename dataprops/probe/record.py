"""Probe results as plain values for the summary, and as a table with one row per image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dataprops.util.numbers import percent

if TYPE_CHECKING:
    from dataprops.probe.measure import Estimate, Probe

# column -> description
COLUMNS = {
    "image": "id",
    "leak_group": "images of one leak group (same group, copies, near-copies) are never on both sides of a split",
    "fold": "fold in which the image was held out",
    "given": "its label",
    "predicted": "most probable label, by a classifier not trained on the image",
    "p_given": "probability of the given label",
    "p_predicted": "probability of the predicted label",
    "log_loss": "held-out log loss, nats; for numbers squared error / variance",
    "hardness": "p of the likeliest other label - p of the given one, -1 easy to 1 hard; for numbers the absolute error",
    "suspicion": "for suspect labels, p of the likelier label - p of the given one; NaN: not suspect",
    "likelier": "for suspect labels, the likelier label",
    "gradient": "L1 norm of d loss / d image at 32 x 32, nats per grey level; NaN: not attacked",
    "penalty": "increase in log loss under FGSM, eps = 2 grey levels, nats",
    "flip": "smallest eps along the FGSM direction that changes the prediction, grey levels; at most 255",
}
MOST_CONFUSED = 50  # classes; the confusion matrix of more is not stored


def empty_table() -> pd.DataFrame:
    """No image."""
    return pd.DataFrame({name: pd.Series(dtype=object if name in TEXTS else float) for name in COLUMNS})


TEXTS = ("given", "predicted", "likelier")


def table_of(
    probe: Probe, image: np.ndarray, y: np.ndarray, names: list[str] | None, leak_group: np.ndarray
) -> pd.DataFrame:
    """One row per image of the probe.

    Parameters
    ----------
    image : int64 [n]
        Ids.
    y : int64 or float64 [n]
    names : list of str or None
        Class names; None for numbers.
    leak_group : int64 [n]
    """
    n, nothing = len(image), np.full(len(image), np.nan)
    table = pd.DataFrame({"image": image, "leak_group": leak_group, "fold": probe.fold})
    if names is None or probe.probabilities is None:
        given = pd.Series([f"{value:g}" for value in y], dtype=object)
        predicted = likelier = pd.Series([None] * n, dtype=object)
        p_given = p_predicted = suspicion = nothing
    else:
        p, named = probe.probabilities, np.array(names, object)
        given, predicted = named[y], named[p.argmax(1)]
        p_given, p_predicted = p[np.arange(n), y], p.max(1)
        suspicion, likelier = nothing.copy(), np.full(n, None, object)
        if probe.suspects is not None:
            suspicion[probe.suspects.image] = probe.suspects.score
            likelier[probe.suspects.image] = named[probe.suspects.likelier]
    table = table.assign(given=given, predicted=predicted, p_given=p_given, p_predicted=p_predicted)
    table = table.assign(log_loss=probe.losses, hardness=probe.hardness, suspicion=suspicion, likelier=likelier)
    for name in ("gradient", "penalty", "flip"):
        column = nothing.copy()
        if probe.attack is not None:
            column[probe.attacked] = getattr(probe.attack, name)
        table[name] = column
    return table[list(COLUMNS)]


def summary_of(probe: Probe, y: np.ndarray, names: list[str] | None, grouped: str, notes: list[str]) -> dict[str, Any]:
    """Plain values for JSON."""
    gains = probe.gains or {}
    told: dict[str, Any] = {
        "error": probe.error._asdict(),
        "log_loss": None if probe.log_loss is None else probe.log_loss._asdict(),
        "curve": [
            {"n": point.n, "error": point.error, "log_loss": None if math.isnan(point.log_loss) else point.log_loss}
            for point in probe.curve
        ],
        "gain_if_doubled": gains[2]._asdict() if gains else None,
        "gain_if_quadrupled": gains[4]._asdict() if gains else None,
        "withheld": probe.withheld,
        "folds": probe.folds,
        "grouped_by": grouped,
        "n_images": len(y),
        "n_leak_groups": probe.leak_groups,
        "errors": None if names is None else int(probe.wrong.sum()),
        "kind": "numbers" if names is None else "classes",
        "chance": 1.0 if names is None else 1 - float(np.bincount(y).max()) / len(y),
        "suspects": None if probe.suspects is None else len(probe.suspects.image),
        "classes": names if names is not None and len(names) <= MOST_CONFUSED else None,
        "confusion": None
        if names is None or len(names) > MOST_CONFUSED or probe.confusion is None
        else probe.confusion.tolist(),
        "attack": None,
        "notes": notes,
    }
    if probe.attack is not None:
        flip = probe.attack.flip
        told["attack"] = {
            "gradient": float(probe.attack.gradient.mean()),
            "penalty": float(probe.attack.penalty.mean()),
            "flip_median": float(np.median(flip)),
            "eps": 2.0,
            "images": len(flip),
        }
    return told | {"sentence": sentence(probe.error, told)}


def sentence(error: Estimate, told: dict[str, Any]) -> str:
    """The probe's main result in words."""
    ends = f"({percent(error.low)} to {percent(error.high)})"
    unseen = "images of unseen patients" if told["grouped_by"] == "group" else "unseen images"
    if told["kind"] == "numbers":
        return f"A simple reference classifier leaves {percent(error.value)} {ends} of the labels' variance unexplained on {unseen}."
    return (
        f"A simple reference classifier errs on {percent(error.value)} {ends} of {unseen}; always naming the largest class errs"
        f" on {percent(told['chance'])}."
    )
