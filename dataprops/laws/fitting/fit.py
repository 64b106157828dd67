"""Fit every law to a table: free and fixed slopes, leave-one-out errors against two baselines, correlations, bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from dataprops.laws.fitting.fitted import Fit, FittedLaw
from dataprops.laws.fitting.laws import BOUNDS, LAWS, Law, positive_log
from dataprops.laws.fitting.lines import Design, OLSFit, coefficients, fit_whole, left_out_residuals
from dataprops.laws.fitting.resampling import Intervals, interval, mean_of, pearson, share, spearman
from dataprops.laws.fitting.table import ATTACKS, TrainingTable, points_of
from dataprops.laws.fitting.words import verdict_of
from dataprops.util.json import finite


def design_of(points: TrainingTable, law: Law) -> Design | str:
    """The rows to which a law can be fitted, or why there are none."""
    missing = [name for name in law.needs if name in points.absent]
    if missing:
        return f"the table has no {', '.join(missing)}"
    table = points.table
    x = np.stack([term(table) for term in law.terms.values()], axis=1)
    target = table[law.target]
    y = positive_log(target) if law.logarithm else target.to_numpy(float)
    at = np.nonzero(np.isfinite(x).all(axis=1) & np.isfinite(y))[0]
    if not len(at):
        return f"no row has all of {', '.join(law.needs)}"
    dataset, datasets = pd.factorize(table["dataset"].to_numpy(object)[at], sort=True)
    family, families = pd.factorize(table["family"].to_numpy(object)[at], sort=True)
    return Design(x[at], y[at], dataset, family, tuple(map(str, datasets)), tuple(map(str, families)), at)


def fit_laws(table: pd.DataFrame, *, seed: int = 0) -> Fit:
    """Fit every law whose columns the table has.

    Parameters
    ----------
    table : DataFrame
        Columns of `cells.parquet` (a subset is enough), or of the paper's table.
    seed : int
        Seed of the bootstrap.

    Raises
    ------
    DatapropsError
        If the table has no dataset or no finished row.
    """
    points = points_of(table)
    laws: dict[str, Any] = {}
    lodo: dict[str, Any] = {}
    baselines: dict[str, Any] = {}
    verdicts: dict[str, Any] = {}
    lines: dict[str, FittedLaw] = {}
    for name, law in LAWS.items():
        design = design_of(points, law)
        if isinstance(design, str):
            laws[name] = {"law": law.title, "missing": design}
            continue
        forms = _forms(design, law, seed)
        laws[name] = {
            "law": law.title,
            "rows": len(design.y),
            "datasets": len(design.datasets),
            "families": list(design.families),
        } | {form: fitted[0] for form, fitted in forms.items()}
        misses = {form: left_out_residuals(fitted[2]) for form, fitted in forms.items()}
        base = _baseline_residuals(points, design)
        lodo[name] = {form: _errors(design, miss, law.unit) for form, miss in misses.items()}
        baselines[name] = {form: _errors(design, miss, law.unit) for form, miss in base.items()}
        if "log_n" not in base:
            baselines[name]["log_n"] = {"rmse": None, "missing": "n_train is missing or constant"}
        verdicts[name] = verdict_of(law, *_against(design, misses, base, seed))
        best = verdicts[name]["form"]
        if forms[best][1] is not None:
            lines[name] = _line(points, design, law, (name, best, forms[best]), misses[best], verdicts[name])
    if "rows" in laws["robustness"]:
        laws["robustness"] |= _robustness(points, laws["robustness"].pop("free"), seed)
    for name, column in BOUNDS.items():
        laws[name] = _bound(points, column)
    result = {
        "rows": len(points.table),
        "datasets": sorted(points.table["dataset"].unique()),
        "families": sorted(points.table["family"].unique()),
        "channels": sorted(points.table["channels"].dropna().unique()),
        "laws": laws,
        "lodo": lodo,
        "baselines": baselines,
        "verdicts": verdicts,
        "verdict": " ".join(v["sentence"] for v in verdicts.values())
        or "No law could be fitted: the table lacks the required columns.",
        "notes": list(points.notes),
        "missing": list(points.absent),
    }
    return Fit(points, result, lines)


Form = tuple[dict[str, Any], OLSFit | None, Design]


def _forms(design: Design, law: Law, seed: int) -> dict[str, Form]:
    """Form -> (reported results, fit, design)."""
    forms = {"free": _fitted(design, law, None, seed)}
    if law.theory is not None:
        forms["fixed"] = _fitted(design.without(np.array(law.theory)), law, law.theory, seed)
    return forms


def _fitted(design: Design, law: Law, fixed: tuple[float, ...] | None, seed: int) -> Form:
    whole = fit_whole(design)
    if whole is None:
        return (
            {"missing": "the rows do not determine the slopes: a term is constant, or terms are collinear"},
            None,
            design,
        )
    count = 0 if fixed else len(law.terms)
    found = interval(coefficients(design), len(design.datasets), count, seed=seed)
    if fixed:
        slopes = {term: {"value": slope, "fixed": True} for term, slope in zip(law.terms, fixed, strict=True)}
    else:
        slopes = {term: numbers(found, i) for i, term in enumerate(law.terms)}
        for slope, theory in zip(slopes.values(), law.theory or (), strict=False):
            slope["theory"] = theory
    told = {
        "slopes": slopes,
        "intercepts": {family: numbers(found, count + i) for i, family in enumerate(design.families)},
        "residual_sd": whole.residual_sd,
        "interval": found.method,
    }
    if not fixed:
        told["r2"] = whole.r2
    return told, whole, design


def numbers(found: Intervals, i: int = 0) -> dict[str, float | None]:
    """{value, low, high} of the i-th value."""
    return {name: finite(getattr(found, name)[i]) for name in ("value", "low", "high")}


def _baseline_residuals(points: TrainingTable, design: Design) -> dict[str, np.ndarray]:
    """Leave-one-dataset-out residuals of the two baselines, the mean and log N alone."""
    out = {"mean": left_out_residuals(design.on(design.x[:, :0]))}
    n = positive_log(points.table["n_train"])[design.at]
    if np.isfinite(n).all() and np.ptp(n) > 0:
        out["log_n"] = left_out_residuals(design.on(n[:, None]))
    return out


def _by_dataset(design: Design, misses: np.ndarray) -> np.ndarray:
    """Mean squared error of each dataset; NaN where none of its rows could be predicted."""
    known = np.isfinite(misses)
    sums = np.bincount(design.dataset[known], misses[known] ** 2, minlength=len(design.datasets))
    rows = np.bincount(design.dataset[known], minlength=len(design.datasets))
    return np.where(rows > 0, sums / np.maximum(rows, 1), np.nan)


def _errors(design: Design, misses: np.ndarray, unit: str) -> dict[str, Any]:
    """Leave-one-dataset-out rmse, every dataset with the same weight."""
    squares = _by_dataset(design, misses)
    known = np.isfinite(squares)
    out: dict[str, Any] = {
        "rmse": float(np.sqrt(squares[known].mean())) if known.any() else None,
        "unit": unit,
        "by_dataset": {name: finite(np.sqrt(s)) for name, s in zip(design.datasets, squares, strict=True)},
    }
    if not np.isfinite(misses).all():
        out["rows_without"] = int((~np.isfinite(misses)).sum())
    return out


def _against(
    design: Design, misses: dict[str, np.ndarray], base: dict[str, np.ndarray], seed: int
) -> tuple[str, dict[str, float], dict[str, tuple[float, Intervals]]]:
    """The best form; the leave-one-out error of each form; and for each baseline its error and the excess in squared error.

    All on the rows that every one of them predicts.
    """
    everything = misses | base
    usable = {name: miss for name, miss in everything.items() if np.isfinite(miss).any()}
    common = np.ones(len(design.y), bool)
    for miss in usable.values():
        common &= np.isfinite(miss)
    squares = {name: _by_dataset(design, np.where(common, miss, np.nan)) for name, miss in usable.items()}
    rmse = {
        name: float(np.sqrt(square[np.isfinite(square)].mean()))
        for name, square in squares.items()
        if np.isfinite(square).any()
    }
    forms = {name: rmse[name] for name in misses if name in rmse}
    best = min(forms, key=lambda name: forms[name]) if forms else ("fixed" if "fixed" in misses else "free")
    compared = {}
    for name in base:
        if name in rmse and best in rmse:
            more = squares[name] - squares[best]
            more = more[np.isfinite(more)]
            compared[name] = (rmse[name], interval(mean_of(more), len(more), seed=seed))
    return best, forms, compared


def _line(
    points: TrainingTable,
    design: Design,
    law: Law,
    chosen: tuple[str, str, Form],
    misses: np.ndarray,
    verdict: dict[str, Any],
) -> FittedLaw:
    name, form, (told, _, _) = chosen
    slopes = told["slopes"]

    def end(which: str) -> dict[str, float | None]:
        return {term: s["value"] if s.get("fixed") else s[which] for term, s in slopes.items()}

    residuals: dict[str, list[float]] = {}
    for code, miss in zip(design.dataset, misses, strict=True):
        if np.isfinite(miss):
            residuals.setdefault(design.datasets[code], []).append(float(miss))
    used = points.table.iloc[design.at]
    return FittedLaw(
        name,
        form,
        {term: s["value"] for term, s in slopes.items()},
        end("low"),
        end("high"),
        {family: a["value"] for family, a in told["intercepts"].items()},
        residuals,
        {
            column: (float(used[column].min()), float(used[column].max()))
            for column in (*law.needs, "classes")
            if column != law.target and used[column].notna().any()
        },
        verdict["beats"],
        verdict["clearly"],
        verdict["sentence"],
    )


def _means(points: TrainingTable, columns: list[str]) -> pd.DataFrame:
    """Mean of each dataset over its complete rows."""
    known = points.table.dropna(subset=columns)
    means: Any = known.groupby("dataset", sort=True)[columns].mean()
    return means


def _correlations(x: np.ndarray, y: np.ndarray, seed: int) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, statistic in (("pearson_r", pearson(x, y)), ("spearman_r", spearman(x, y))):
        found = interval(statistic, len(x), correlation=True, seed=seed)
        value, low, high = numbers(found).values()
        out |= {name: value, f"{name}_interval": [low, high]}
    return out | {"correlation_of": f"means of {len(x)} datasets"}


def _robustness(points: TrainingTable, free: dict[str, Any], seed: int) -> dict[str, Any]:
    """Slope and correlations of the robustness law for each attack, each family, and each number of channels."""
    if "missing" in free:
        return free
    means = _means(points, ["k_f", "penalty_2"])
    out = {
        "slope": free["slopes"]["sharpness"],
        "intercepts": free["intercepts"],
        "intercept": float(np.mean([a["value"] for a in free["intercepts"].values()])),
        "unit": "nats per unit of K_F (1 / grey level)",
        "r2": free["r2"],
        "residual_sd": free["residual_sd"],
        "interval": free["interval"],
        **_correlations(means["k_f"].to_numpy(), means["penalty_2"].to_numpy(), seed),
    }
    out["by_attack"] = {
        words: _slope_and_r(points.table, column) for column, words in ATTACKS.items() if column not in points.absent
    }
    families = points.table["family"].unique()
    if len(families) > 1:
        out["by_family"] = {
            name: _slope_and_r(points.table.loc[points.table["family"] == name], "penalty_2")
            for name in sorted(families)
        }
    channels = sorted(points.table["channels"].dropna().unique())
    if len(channels) > 1:
        out["within_channels"] = {
            f"{c:.0f}": _slope_and_r(points.table.loc[points.table["channels"] == c], "penalty_2") for c in channels
        }
    return out


def _slope_and_r(table: pd.DataFrame, column: str) -> dict[str, Any]:
    """Slope and correlations over the means of the datasets, without intervals."""
    means: Any = table.dropna(subset=["k_f", column]).groupby("dataset")[["k_f", column]].mean()
    k, penalty = means["k_f"].to_numpy(), means[column].to_numpy()
    if len(k) < 3 or np.ptp(k) <= 1e-9 * np.abs(k).max():
        return {"datasets": len(k), "missing": "it needs at least three datasets that differ in sharpness"}
    one = np.ones((1, len(k)), np.int64)
    return {
        "datasets": len(k),
        "slope": float(np.polyfit(k / k.std(), penalty, 1)[0] / k.std()),
        "pearson_r": finite(pearson(k, penalty)(one)[0, 0]),
        "spearman_r": finite(spearman(k, penalty)(one)[0, 0]),
    }


def _bound(points: TrainingTable, column: str) -> dict[str, Any]:
    """How often d_repr exceeds d_data."""
    told = f"{column} <= d_data"
    missing = [name for name in (column, "d_data") if name in points.absent]
    if missing:
        return {"law": told, "missing": f"the table has no {', '.join(missing)}"}
    known = points.table.dropna(subset=[column, "d_data"])
    if known.empty:
        return {"law": told, "missing": f"no row has both {column} and d_data"}
    code, names = pd.factorize(known["dataset"].to_numpy(object), sort=True)
    above = (known[column] > known["d_data"]).to_numpy(float)
    hits, rows = np.bincount(code, above), np.bincount(code).astype(float)
    found = share(hits, rows)
    value, low, high = numbers(found).values()
    return {
        "law": told,
        "violations": value,
        "violations_interval": [low, high],
        "n": len(known),
        "datasets": len(names),
        "datasets_with_violations": [str(name) for name, h in zip(names, hits, strict=True) if h > 0],
        "interval": found.method,
    }
