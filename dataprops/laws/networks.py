"""What networks are expected to do on a set that nobody trained one on: the calibration that ships, from the deciding experiment.

`calibration/probe/cells.csv` has one row for each trained network (tests/benchmarks/truth.md says how). For each family the form is
used whose error on sources left out is smallest among those that rest on the probe, and only where it clearly beats log N and the
mean: then its prediction is told with its score, else there are words and no number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dataprops.laws.fitting import sources
from dataprops.laws.prediction import Prediction
from dataprops.util.numbers import percent

NAME = "probe2026"
FAMILY, CALLED = "resnet18", "ResNet-18"
LEAST, MOST = 48, 4096  # images; networks were trained on 64 to 1,024, nothing is promised beyond four times
USABLE = ("probe", "probe_error", "probe_both")  # forms of which an audit has every term
TARGETS = {
    "test_loss": ("log_loss", "nats"),
    "test_error": ("logit_error", "fraction"),
    "network_penalty": ("log_penalty", "nats"),
}


class Best(NamedTuple):
    """A form with what predictions need of it.

    Attributes
    ----------
    form : str
    coefficients : float [1 + terms]
    half : float
        Half width of the 90 % interval, on the target's scale.
    score : dict
        rmse, factor, baseline_rmse, gain {value, low, high}, coverage, sources, networks, level.
    clearly : bool
    """

    form: str
    coefficients: np.ndarray
    half: float
    score: dict[str, Any]
    clearly: bool


def load_cells() -> pd.DataFrame:
    """The trained networks of the shipped calibration."""
    with (files("dataprops.laws") / "calibration" / "probe" / "cells.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file)


@lru_cache(maxsize=4)
def _converged(family: str) -> pd.DataFrame:
    """The converged networks of a family in the shipped calibration; do not modify."""
    cells = load_cells()
    return sources.converged(cells.loc[cells["model"] == family])


@lru_cache(maxsize=16)
def best_form(target: str, family: str = FAMILY) -> Best:
    """The usable form with the smallest error on sources left out."""
    cells = _converged(family)
    squares = {}
    for name in ("mean", "log_n", *USABLE):
        rows = sources.rows_of(cells, sources.FORMS[name], target)
        squares[name] = sources.by_source(sources.left_out(rows), rows.source)
    form = min(USABLE, key=lambda name: squares[name].mean())
    rows = sources.rows_of(cells, sources.FORMS[form], target)
    gains = {name: sources.bootstrap_sources(squares[name] - squares[form]) for name in ("mean", "log_n")}
    coverage, _ = sources.nested_coverage(rows)
    rmse = float(np.sqrt(squares[form].mean()))
    score = {
        "rmse": rmse,
        "factor": math.exp(rmse),
        "baseline_rmse": float(np.sqrt(squares["log_n"].mean())),
        "gain": dict(zip(("value", "low", "high"), gains["log_n"], strict=True)),
        "coverage": coverage,
        "sources": len(squares[form]),
        "networks": len(cells),
        "level": sources.LEVEL,
    }
    half = sources.conformal_half(sources.left_out(rows), rows.source)
    clearly = all(low > 0 for _, low, _ in gains.values())
    return Best(form, sources.coefficients(rows, np.ones(len(rows.y), bool)), half, score, clearly)


def network_prediction(name: str, probe: Mapping[str, Any] | None, withheld: str | None = None) -> Prediction:
    """Test loss, test error or rise of the loss under attack of a ResNet-18 trained on a set.

    Parameters
    ----------
    name : str
        One of `TARGETS`.
    probe : mapping or None
        A summary's `probe`.
    withheld : str, optional
        Why there is none.
    """
    reason = _not_applicable(probe, withheld)
    if reason is not None or probe is None:
        return Prediction(name, withheld=reason)
    return _predict(name, probe)


def _not_applicable(probe: Mapping[str, Any] | None, withheld: str | None) -> str | None:
    if probe is None:
        return f"it rests on the probe, and this audit has none{': ' + withheld if withheld else ''}"
    if probe["kind"] != "classes":
        return "networks were trained for classes, and this set has numbers"
    n = probe["n_images"]
    if n < LEAST or n > MOST or probe["n_total"] > MOST:
        return (
            f"networks were trained on 64 to 1,024 images, and nothing is predicted for fewer than {LEAST} or more than {MOST:,}:"
            f" this set has {probe['n_total']:,}"
        )
    return None


def _predict(name: str, probe: Mapping[str, Any]) -> Prediction:
    target, unit = TARGETS[name]
    best = best_form(target)
    score = best.score
    if not best.clearly:
        return Prediction(
            name,
            withheld=f"networks on sources left out were missed by {score['rmse']:.2g} on the log scale, by log N alone by"
            f" {score['baseline_rmse']:.2g}, and the difference is within dataset-sampling error",
            score=score,
        )
    row = pd.DataFrame(
        {"n_train": [probe["n_images"]], "p_loss": [probe["log_loss"]["value"]], "p_wrong": [probe["errors"]]}
    )
    terms = [1.0, *(float(sources.TERMS[term](row)[0]) for term in sources.FORMS[best.form].terms)]
    at = float(np.dot(best.coefficients, terms))
    low, value, high = (_scaled(target, at + sign * best.half) for sign in (-1, 0, 1))
    others = score["sources"] - 1
    missed = f"networks on {others} other sources were missed by a factor of {score['factor']:.1f}"
    ends = f"(90 % interval {_told(target, low)} to {_told(target, high)}; {missed}{' in the odds' if unit == 'fraction' else ''})"
    words = {
        "test_loss": f"Expected test loss of a {CALLED} trained on this set (calibrated, 32 x 32): {_told(target, value)} nats"
        f" {ends}.",
        "test_error": f"Expected test error of a {CALLED} trained on this set (32 x 32): {_told(target, value)} {ends}.",
        "network_penalty": "An adversarial perturbation nobody would see (FGSM, eps 2/255) is expected to raise the test loss of a"
        f" {CALLED} trained on this set (32 x 32) by {_told(target, value)} nats {ends}.",
    }
    outside = (
        " An extrapolation: networks were trained on 64 to 1,024 images." if not 64 <= probe["n_images"] <= 1024 else ""
    )
    return Prediction(
        name,
        value,
        low,
        high,
        unit,
        f"calibration {NAME}: {score['networks']} networks on {score['sources']} sources; form {best.form};"
        " conformal interval over sources",
        words[name] + outside,
        level=sources.LEVEL,
        calibration=None,
        score=score,
    )


def _scaled(target: str, value: float) -> float:
    return 1 / (1 + math.exp(-value)) if target == "logit_error" else math.exp(value)


def _told(target: str, value: float) -> str:
    return percent(value) if target == "logit_error" else f"{value:.2g}"


def attack_risk(probe: Mapping[str, Any] | None, predictions: Sequence[Prediction]) -> dict[str, Any] | None:
    """Rank of the set among those of the calibration by the expected rise of the loss under attack; None where it is withheld.

    Returns
    -------
    dict
        easier_than (sets whose networks are harder to attack), of (sets), share, penalty (expected rise, nats), score
        (rank correlation on sources left out, with its interval), sentence.
    """
    told = {p.name: p for p in predictions}.get("network_penalty")
    if probe is None or told is None or told.value is None:
        return None
    cells = _converged(FAMILY)
    means: Any = cells.groupby("source")["penalty_2"].mean()
    easier, of = int((means < told.value).sum()), len(means)
    rank = _rank()
    return {
        "easier_than": easier,
        "of": of,
        "share": easier / of,
        "penalty": told.value,
        "score": {"rank_correlation": rank},
        "sentence": f"Networks trained on this set are expected to be easier to attack than those of {easier} of the {of} sets of the"
        f" calibration (rank correlation on sources left out {rank['value']:.2f}, 95 % interval {rank['low']:.2f} to"
        f" {rank['high']:.2f}).",
    }


@lru_cache(maxsize=1)
def doubling() -> dict[str, Any]:
    """How well the probe's curve predicts the networks of the shipped calibration (`sources.doubling_score`)."""
    return sources.doubling_score(sources.converged(load_cells()))


@lru_cache(maxsize=1)
def _rank() -> dict[str, float]:
    cells = _converged(FAMILY)
    return sources.rank_correlation(cells, best_form("log_penalty").form)
