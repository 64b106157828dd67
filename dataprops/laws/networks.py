"""Predicted performance of networks on a new set, from the probe, by the shipped calibration or by a store's own.

The shipped `calibration/probe/cells.csv` has one row for each network of the validation experiment (tests/benchmarks/truth.md);
`dataprops fit` stores the same for a user's networks (`fitted_networks`). For each family, the probe-based form with the smallest
leave-one-source-out error is used, if it clearly beats log N and the mean: its prediction is reported with its score. Otherwise the
prediction is withheld with the reason.
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
from dataprops.laws.fitting.forms import LEAST as LEAST_SOURCES
from dataprops.laws.fitting.forms import NEEDS, has_numbers, prepared
from dataprops.laws.prediction import Prediction
from dataprops.util.numbers import percent

NAME = "probe2026"
FAMILY, CALLED = "resnet18", "ResNet-18"
SIZES = 64, 1024  # smallest and largest training set of its networks, images
FEWER, MORE = 0.75, 4  # nothing is predicted outside these multiples of the smallest and largest training set
RAW = "raw loss"  # test loss without temperature scaling
HOLDING = 0.85  # coverage of 90 % intervals below which, among networks with similar predictions, the sentence warns
RANKED = 0.7  # pre-registered pass mark of the rank correlation of the loss under attack (tests/benchmarks/truth.md)
USABLE = ("probe", "probe_error", "probe_both")  # forms whose terms every audit has
TARGETS = {
    "test_loss": ("log_loss", "nats"),
    "test_error": ("logit_error", "fraction"),
    "network_penalty": ("log_penalty", "nats"),
}


class Best(NamedTuple):
    """A fitted form with what predictions need.

    Attributes
    ----------
    form : str
    coefficients : tuple of float [1 + terms]
    width : sources.Width
        Half width of the 90 % interval as a function of the prediction, on the target's scale.
    score : dict
        rmse, factor, baseline_rmse, gain {value, low, high}, coverage, sources, networks, level.
    clearly : bool
        Whether it clearly beats log N alone and the mean.
    quarters : tuple of (float, int, int)
        See `sources.coverage_by_quarters`; empty in calibrations of earlier versions.
    """

    form: str
    coefficients: tuple[float, ...]
    width: sources.Width
    score: dict[str, Any]
    clearly: bool
    quarters: tuple[tuple[float, int, int], ...] = ()

    def here(self, predicted: float) -> dict[str, Any] | None:
        """Networks whose predictions lie in the same quarter: {coverage of their nested intervals, networks}."""
        for end, networks, inside in self.quarters:
            if predicted <= end or end == self.quarters[-1][0]:
                return {"coverage": inside / networks, "networks": networks}
        return None


class Networks(NamedTuple):
    """A family of trained networks and its predictors.

    Attributes
    ----------
    called : str
        Name of the family in sentences.
    how : str
        Qualifier in brackets after the name: image size, kind of loss.
    least, most : int
        Smallest and largest training set, images.
    best : dict of str to Best
        Target (`TARGETS`) -> form.
    calibration : str or None
        Id in the store; None: the shipped calibration.
    """

    called: str
    how: str
    least: int
    most: int
    best: dict[str, Best]
    calibration: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, without the calibration's id."""
        best = {name: best._asdict() for name, best in self.best.items()}
        return {key: value for key, value in self._asdict().items() if key != "calibration"} | {"best": best}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any], calibration: str) -> Networks:
        """Inverse of `as_dict`."""
        best = {
            name: Best(
                **b
                | {
                    "coefficients": tuple(b["coefficients"]),
                    "width": sources.Width(*b["width"]),
                    "quarters": tuple(tuple(quarter) for quarter in b.get("quarters", ())),
                }
            )
            for name, b in record["best"].items()
        }
        return cls(**dict(record) | {"best": best, "calibration": calibration})


def load_cells(name: str = "cells") -> pd.DataFrame:
    """The trained networks of the shipped calibration ("cells"), or those that validate it ("seeds", "unseen")."""
    return _table(name).copy()


@lru_cache(maxsize=3)
def _table(name: str) -> pd.DataFrame:
    with (files("dataprops.laws") / "calibration" / "probe" / f"{name}.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file)


@lru_cache(maxsize=4)
def _converged(family: str) -> pd.DataFrame:
    """The converged networks of a family in the shipped calibration (cached: do not modify)."""
    cells = load_cells()
    return sources.converged(cells.loc[cells["model"] == family])


@lru_cache(maxsize=16)
def best_form(target: str, family: str = FAMILY) -> Best:
    """`best_of` for a family of the shipped calibration."""
    return best_of(_converged(family), target)


@lru_cache(maxsize=1)
def shipped_networks() -> Networks:
    """The family of the shipped calibration that audits report."""
    return Networks(CALLED, "32 x 32", *SIZES, {target: best_form(target) for target, _ in TARGETS.values()})


def fitted_networks(table: pd.DataFrame) -> Networks | None:
    """Predictors of the most frequent family in a table of trained networks; None without probe columns or enough sources.

    Parameters
    ----------
    table : DataFrame
        Columns as in `fitting.forms`.
    """
    cells, raw = prepared(table)
    if not all(has_numbers(cells, NEEDS[term]) for term in ("log_probe_loss", "logit_probe_error")):
        return None
    usable = cells.dropna(subset=["p_loss", "p_wrong", "n_train"])
    if usable.empty:
        return None
    family = str(usable["model"].value_counts().index[0])
    usable, best = usable[usable["model"] == family], {}
    for target, _ in TARGETS.values():
        if has_numbers(usable, NEEDS[target]):
            rows = usable.dropna(subset=list(NEEDS[target])).reset_index(drop=True)
            if rows["source"].nunique() >= LEAST_SOURCES:
                best[target] = best_of(rows, target)
    if not best:
        return None
    called, sizes = CALLED if family == FAMILY else family, usable["n_train"]
    how = f"{RAW if raw else 'calibrated loss'}, by the store's own calibration"
    return Networks(called, how, int(sizes.min()), int(sizes.max()), best)


def best_of(cells: pd.DataFrame, target: str) -> Best:
    """The form among `USABLE` with the smallest leave-one-source-out error, fitted to the networks of one family."""
    squares = {}
    for name in ("mean", "log_n", *USABLE):
        rows = sources.rows_of(cells, sources.FORMS[name], target)
        squares[name] = sources.by_source(sources.left_out(rows), rows.source)
    form = min(USABLE, key=lambda name: squares[name].mean())
    rows = sources.rows_of(cells, sources.FORMS[form], target)
    gains = {name: sources.bootstrap_sources(squares[name] - squares[form]) for name in ("mean", "log_n")}
    predicted, misses, half = sources.nested_intervals(rows)
    coverage, _ = sources.coverage_of(rows, misses, half)
    quarters = sources.coverage_by_quarters(predicted, misses, half)
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
    width = sources.width_of(predicted, misses, rows.source)
    clearly = all(low > 0 for _, low, _ in gains.values())
    fitted = sources.coefficients(rows, np.ones(len(rows.y), bool))
    return Best(form, tuple(float(value) for value in fitted), width, score, clearly, quarters)


def reason_no_networks(forms: Mapping[str, Any] | None) -> str:
    """Why a store's calibration predicts nothing from the probe (`fitted_networks` returned None), from its `judged_forms`."""
    if not forms:
        return "it was fitted by an earlier version, without the forms of the reference classifier: run dataprops fit again"
    told = [targets["log_loss"] for targets in forms.values()]
    missing = [one["missing"] for one in told if "missing" in one]
    if len(missing) == len(told):
        return f"its networks cannot be evaluated on held-out sources: {missing[0]}"
    return "its rows lack the columns of the reference classifier (p_loss, p_wrong), which this version's experiments write"


def network_prediction(
    name: str, probe: Mapping[str, Any] | None, withheld: str | None = None, networks: Networks | None = None
) -> Prediction:
    """Expected test loss, test error or loss increase under attack of a network trained on a set.

    Parameters
    ----------
    name : str
        One of `TARGETS`.
    probe : mapping or None
        A summary's `probe`.
    withheld : str, optional
        Why there is no probe.
    networks : Networks, optional
        By default the shipped ResNet-18.
    """
    reason = _not_applicable(probe, withheld, (networks.least, networks.most) if networks else SIZES)
    if reason is not None or probe is None:
        return Prediction(name, withheld=reason)
    networks = networks or shipped_networks()
    best = networks.best.get(TARGETS[name][0])
    if best is None:
        return Prediction(name, withheld="the networks of the calibration lack this number")
    if not best.clearly:
        return Prediction(
            name,
            withheld=f"on held-out sources its error is {best.score['rmse']:.2g} on the log scale, that of log N alone"
            f" {best.score['baseline_rmse']:.2g}; the difference is within dataset-sampling error",
            score=best.score,
        )
    return _predict(name, probe, networks, best)


def _not_applicable(probe: Mapping[str, Any] | None, withheld: str | None, sizes: tuple[int, int]) -> str | None:
    if probe is None:
        return f"it needs the probe, which this audit does not have{': ' + withheld if withheld else ''}"
    if probe["kind"] != "classes":
        return "the networks were trained on classes, and the labels of this dataset are numbers"
    least, most = FEWER * sizes[0], MORE * sizes[1]
    if probe["n_images"] < least or probe["n_total"] > most:
        return (
            f"the networks were trained on {sizes[0]:,} to {sizes[1]:,} images, and nothing is predicted for fewer than"
            f" {least:,.0f} or more than {most:,}: this dataset has {probe['n_total']:,}"
        )
    return None


def _predict(name: str, probe: Mapping[str, Any], networks: Networks, best: Best) -> Prediction:
    target, unit = TARGETS[name]
    score, called = best.score, networks.called
    row = pd.DataFrame(
        {"n_train": [probe["n_images"]], "p_loss": [probe["log_loss"]["value"]], "p_wrong": [probe["errors"]]}
    )
    terms = [1.0, *(float(sources.TERMS[term](row)[0]) for term in sources.FORMS[best.form].terms)]
    at, guessing = _no_worse_than_guessing(target, float(np.dot(best.coefficients, terms)), probe, networks)
    half = float(best.width.at(at))
    low, value, high = (_scaled(target, at + sign * half) for sign in (-1, 0, 1))
    others = score["sources"] - 1
    missed = f"leave-one-out error on {others} other sources: a factor of {score['factor']:.1f}"
    ends = f"(90 % interval {_told(target, low)} to {_told(target, high)}; {missed}{' in the odds' if unit == 'fraction' else ''})"
    here = best.here(at)
    few = ""
    if here and here["coverage"] < HOLDING:
        held = round(here["coverage"] * here["networks"])
        few = (
            f" Too narrow here: in this range of predictions such intervals covered {held} of {here['networks']} networks"
            f" ({percent(here['coverage'])})."
        )
    calibrated = "calibrated, " if networks.calibration is None else ""
    words = {
        "test_loss": f"Expected test loss of a {called} trained on this dataset ({calibrated}{networks.how}): {_told(target, value)}"
        f" nats {ends}.",
        "test_error": f"Expected test error of a {called} trained on this dataset ({networks.how}): {_told(target, value)} {ends}.",
        "network_penalty": "An adversarial perturbation nobody would see (FGSM, eps 2/255) is expected to raise the test loss of a"
        f" {called} trained on this dataset ({networks.how}) by {_told(target, value)} nats {ends}.",
    }
    outside = ""
    if not networks.least <= probe["n_images"] <= networks.most:
        outside = f" An extrapolation: the networks were trained on {networks.least:,} to {networks.most:,} images."
    kept = NAME if networks.calibration is None else f"{networks.calibration} of this store"
    return Prediction(
        name,
        value,
        low,
        high,
        unit,
        f"calibration {kept}: {score['networks']} networks on {score['sources']} sources; form {best.form};"
        " conformal interval over sources",
        words[name] + guessing + few + outside,
        level=sources.LEVEL,
        calibration=networks.calibration,
        score=score | {"here": here},
    )


def _no_worse_than_guessing(target: str, at: float, probe: Mapping[str, Any], networks: Networks) -> tuple[float, str]:
    """Cap a prediction of log(log loss) at the loss of equal probabilities, which temperature scaling can always reach.

    Returns the value and a sentence that says so ("" if not capped). The cap reduces the leave-one-source-out error of the
    networks concerned from 0.28 to 0.09 (ResNet-18; tests/benchmarks/truth.md).
    """
    classes = probe.get("classes")
    if target != "log_loss" or not classes or networks.how.startswith(RAW):
        return at, ""
    equal = math.log(len(classes))
    if at <= math.log(equal):
        return at, ""
    told = f" The prediction is capped at the loss of equal probabilities for {len(classes)} classes."
    return math.log(equal), told


def _scaled(target: str, value: float) -> float:
    return 1 / (1 + math.exp(-value)) if target == "logit_error" else math.exp(value)


def _told(target: str, value: float) -> str:
    return percent(value) if target == "logit_error" else f"{value:.2g}"


def attack_risk(probe: Mapping[str, Any] | None, predictions: Sequence[Prediction]) -> dict[str, Any] | None:
    """Rank of the set among those of the calibration by expected loss increase under attack; None if that is withheld.

    Returns
    -------
    dict
        easier_than (sets whose networks are harder to attack), of (sets), share (their ratio), penalty (expected increase, nats),
        score (leave-one-source-out rank correlation with its interval), sentence.
    """
    told = {p.name: p for p in predictions}.get("network_penalty")
    if told is not None and told.calibration is not None:  # ranked among the shipped sets, so by their networks
        told = network_prediction("network_penalty", probe)
    if probe is None or told is None or told.value is None:
        return None
    cells = _converged(FAMILY)
    means: Any = cells.groupby("source")["penalty_2"].mean()
    easier, of = int((means < told.value).sum()), len(means)
    rank = _rank()
    weak = f"; below the pre-set pass mark of {RANKED}: only a hint" if rank["value"] < RANKED else ""
    return {
        "easier_than": easier,
        "of": of,
        "share": easier / of,
        "penalty": told.value,
        "score": {"rank_correlation": rank},
        "sentence": f"Networks trained on this dataset are expected to be easier to attack than those of {easier} of the {of} datasets"
        f" of the calibration (rank correlation on held-out sources {rank['value']:.2f}, 95 % interval {rank['low']:.2f} to"
        f" {rank['high']:.2f}{weak}).",
    }


@lru_cache(maxsize=1)
def doubling() -> dict[str, Any]:
    """How well the probe's learning curve predicts the networks of the shipped calibration (`sources.doubling_score`).

    `elsewhere`: the same for networks on sets outside the calibration, against the mean change within it.
    """
    own = sources.doubling_score(sources.converged(load_cells()))
    return own | {"elsewhere": sources.doubling_score(sources.converged(load_cells("unseen")), own["change"])}


@lru_cache(maxsize=1)
def _rank() -> dict[str, float]:
    cells = _converged(FAMILY)
    return sources.rank_correlation(cells, best_form("log_penalty").form)
