"""Compare predictors of a table's networks by leave-one-source-out error: the mean, log N, the paper's laws, the probe.

The source is the column `source`, else the dataset. Networks that did not converge, or whose set is too small for a probe, are
excluded. For each family of networks and each target, all forms of `sources.FORMS` whose columns the table has are evaluated on
the same rows. Only a form that clearly beats both log N alone and the mean is used for predictions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dataprops.laws.fitting import sources
from dataprops.util.numbers import percent

LEAST = 5  # sources
BASELINES = ("mean", "log_n")
# term or target -> columns
NEEDS = {
    "log_n": ("n_train",),
    "log_n_per_d": ("n_train", "d_data"),
    "log_k_f": ("k_f",),
    "log_k_mean": ("k_mean",),
    "log_probe_loss": ("p_loss",),
    "logit_probe_error": ("p_wrong", "n_train"),
    "log_probe_gradient": ("p_gradient",),
    "log_probe_penalty": ("p_penalty",),
    "log_loss": ("test_loss_scaled",),
    "logit_error": ("errors", "n_test"),
    "log_penalty": ("penalty_2",),
}
NAMES = {
    "mean": "the mean",
    "log_n": "log N alone",
    "law_free": "the law, slopes free",
    "law_fixed": "the law, slopes 1 and 1",
    "probe": "the probe's loss + log N",
    "probe_error": "the probe's error + log N",
    "probe_both": "the probe's loss and error + log N",
    "attack_k": "mean K_j + log N",
    "attack_probe": "the probe's loss, mean K_j + log N",
    "attack_gradient": "the probe's gradient and penalty + log N",
    "attack_all": "the probe's loss and gradient, mean K_j + log N",
}
TARGETS = {"log_loss": "test loss", "logit_error": "test error", "log_penalty": "loss increase under FGSM"}


def judged_forms(table: pd.DataFrame, *, ranks: bool = True) -> dict[str, Any]:
    """Family -> target -> {rows, sources, loss (scaled or raw), forms, best, clearly, sentence}, or {missing: why}.

    Each of `forms` has rmse (log scale; logit scale for the error), factor, gain over log N {value, low, high}, coverage of nested
    90 % intervals and their half width; for the penalty also `rank`, Spearman's correlation over datasets with its interval.
    """
    cells, raw = prepared(table)
    out: dict[str, Any] = {}
    for family, rows in cells.groupby("model", sort=True):
        out[str(family)] = {target: _judged(rows, target, str(family), ranks) for target in TARGETS}
        out[str(family)]["log_loss"]["loss"] = "raw" if raw else "scaled"
    return out


def prepared(table: pd.DataFrame) -> tuple[pd.DataFrame, bool]:
    """Networks to evaluate, with the target columns derived where possible; and whether the loss is raw (not temperature-scaled)."""
    cells: Any = sources.converged(table)
    if "model" not in cells:
        cells["model"] = "any network"
    if "source" not in cells:
        cells["source"] = cells["dataset"]
    raw = "test_loss_scaled" not in cells
    if raw and "test_loss" in cells:
        cells["test_loss_scaled"] = cells["test_loss"].where(cells["test_loss"] > 0)
    if "errors" not in cells and {"test_accuracy", "n_test"} <= set(cells.columns):
        cells["errors"] = ((1 - cells["test_accuracy"]) * cells["n_test"]).round()
    return cells, raw


def has_numbers(rows: pd.DataFrame, columns: tuple[str, ...]) -> bool:
    """Whether all of the columns are present and contain at least one number."""
    return all(name in rows and pd.to_numeric(rows[name], errors="coerce").notna().any() for name in columns)


def _judged(rows: pd.DataFrame, target: str, family: str, ranks: bool) -> dict[str, Any]:
    if not has_numbers(rows, NEEDS[target]):
        return {"missing": f"the table has no {', '.join(NEEDS[target])}"}
    needs = {name: _columns(name) for name in sources.FORMS_OF[target]}
    usable = [name for name, columns in needs.items() if has_numbers(rows, columns)]
    wanted = sorted({column for name in usable for column in needs[name]} | set(NEEDS[target]))
    finite: Any = rows[np.isfinite(rows[wanted].to_numpy(float)).all(1)]
    rows = finite.reset_index(drop=True)
    count = rows["source"].nunique()
    if count < LEAST:
        return {"missing": f"it needs {LEAST} sources, there are {count}"}
    if "log_n" not in usable:
        return {"missing": "the table has no n_train"}
    forms, squares = {}, {}
    for name in usable:
        forms[name], squares[name] = _form(rows, name, target)
    for name, told in forms.items():
        told["gain"] = _interval(squares["log_n"] - squares[name])
        if ranks and target == "log_penalty":
            told["rank"] = sources.rank_correlation(rows, name)
    tried = [name for name in usable if name not in BASELINES]
    told = {"rows": len(rows), "sources": count, "forms": forms}
    if not tried:
        return told | {
            "best": None,
            "clearly": None,
            "sentence": f"{family}, {TARGETS[target]}: the table has the columns of the baselines only.",
        }
    best = min(tried, key=lambda name: forms[name]["rmse"])
    clearly = all(_interval(squares[name] - squares[best])["low"] > 0 for name in BASELINES)
    return told | {"best": best, "clearly": clearly, "sentence": _sentence(family, target, forms, best, clearly)}


def _columns(form: str) -> tuple[str, ...]:
    return tuple(column for term in sources.FORMS[form].terms for column in NEEDS[term])


def _form(rows: pd.DataFrame, name: str, target: str) -> tuple[dict[str, Any], np.ndarray]:
    design = sources.rows_of(rows, sources.FORMS[name], target)
    squares = sources.by_source(sources.left_out(design), design.source)
    rmse = float(np.sqrt(squares.mean()))
    coverage, half = sources.nested_coverage(design)
    return {"rmse": rmse, "factor": float(np.exp(rmse)), "coverage": coverage, "half": half}, squares


def _interval(values: np.ndarray) -> dict[str, float]:
    return dict(zip(("value", "low", "high"), sources.bootstrap_sources(values), strict=True))


def _sentence(family: str, target: str, forms: Mapping[str, Any], best: str, clearly: bool) -> str:
    told, base = forms[best], forms["log_n"]
    gain = told["gain"]
    start = (
        f"{family}, {TARGETS[target]}: error on held-out sources a factor of {told['factor']:.2g} for {NAMES[best]},"
        f" {base['factor']:.2g} for log N alone"
        f" (gain in squared error {gain['value']:.2g}, 95 % interval {gain['low']:.2g} to {gain['high']:.2g};"
        f" nested 90 % intervals cover {percent(told['coverage'])})"
    )
    return f"{start}: {'clearly better' if clearly else 'not clearly better, so no number is given'}."
