"""Leave-one-source-out evaluation of predictors of trained networks (protocol: tests/benchmarks/truth.md).

For one family of networks, one target and one form (terms with free slopes, one intercept): each source in turn is left out, the
form is fitted to the others, and its rows are predicted (`left_out`). Every source has the same weight, however many tasks, sizes
and seeds it has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dataprops.laws.fitting.table import learned
from dataprops.probe.curve import LEAST_ERRORS
from dataprops.probe.folds import LEAST_GROUPS

DRAWS = 4000
LEVEL = 0.90
FLOOR_LOSS = FLOOR_PENALTY = 1e-3
LEAST_MISS = 0.05  # log scale; floor of the absolute residuals in the fit of the width
SLOPES = -0.6, 0.0  # range of the slope of log width on the prediction
ENDS = 0.05, 0.5, 0.95  # quantiles of the predictions: range in which the width varies, and its centre

Column = Callable[[pd.DataFrame], np.ndarray]


def _log(name: str, floor: float = 1e-12) -> Column:
    return lambda table: np.log(np.maximum(table[name].to_numpy(float), floor))


def logit(errors: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Logit of an error rate, finite at 0 and 1."""
    return np.log((errors + 0.5) / (n - errors + 0.5))


TERMS: dict[str, Column] = {
    "log_n": _log("n_train"),
    "log_n_per_d": lambda table: -np.log(table["n_train"].to_numpy(float)) / table["d_data"].to_numpy(float),
    "log_k_f": _log("k_f"),
    "log_k_mean": _log("k_mean"),
    "log_probe_loss": _log("p_loss", FLOOR_LOSS),
    "logit_probe_error": lambda table: logit(table["p_wrong"].to_numpy(float), table["n_train"].to_numpy(float)),
    "log_probe_gradient": _log("p_gradient", 1e-6),
    "log_probe_penalty": _log("p_penalty", FLOOR_PENALTY),
}
TARGETS: dict[str, Column] = {
    "log_loss": _log("test_loss_scaled", FLOOR_LOSS),
    "logit_error": lambda table: logit(table["errors"].to_numpy(float), table["n_test"].to_numpy(float)),
    "log_penalty": _log("penalty_2", FLOOR_PENALTY),
}


class Form(NamedTuple):
    """Terms, and their slopes where theory fixes them."""

    terms: tuple[str, ...]
    fixed: tuple[float, ...] | None = None


FORMS: dict[str, Form] = {
    "mean": Form(()),
    "log_n": Form(("log_n",)),
    "law_free": Form(("log_n_per_d", "log_k_f")),
    "law_fixed": Form(("log_n_per_d", "log_k_f"), (1.0, 1.0)),
    "probe": Form(("log_probe_loss", "log_n")),
    "probe_error": Form(("logit_probe_error", "log_n")),
    "probe_both": Form(("log_probe_loss", "logit_probe_error", "log_n")),
    "attack_k": Form(("log_k_mean", "log_n")),
    "attack_probe": Form(("log_probe_loss", "log_k_mean", "log_n")),
    "attack_gradient": Form(("log_probe_gradient", "log_probe_penalty", "log_n")),
    "attack_all": Form(("log_probe_loss", "log_probe_gradient", "log_k_mean", "log_n")),
}
FORMS_OF = {
    "log_loss": tuple(FORMS)[:7],
    "logit_error": tuple(FORMS)[:7],
    "log_penalty": tuple(FORMS),
}


class Rows(NamedTuple):
    """Terms float [rows, terms], target float [rows], and source code of each row, int [rows]."""

    x: np.ndarray
    y: np.ndarray
    source: np.ndarray


def converged(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of networks that finished and learned (`table.learned`), on sets not known to be too small for the probe."""
    kept = learned(table)
    if "status" in table:
        kept &= table["status"].fillna("done").eq("done").to_numpy()
    if "groups_least" in table:
        kept &= ~(table["groups_least"] < LEAST_GROUPS).to_numpy()
    return table.loc[kept].reset_index(drop=True)


def rows_of(table: pd.DataFrame, form: Form, target: str) -> Rows:
    """The design of a form for some cells; terms with fixed slopes are subtracted from the target."""
    x = np.stack([np.ones(len(table)), *(TERMS[term](table) for term in form.terms)], axis=1)
    y = TARGETS[target](table)
    if form.fixed is not None:
        y, x = y - x[:, 1:] @ np.array(form.fixed), x[:, :1]
    return Rows(x, y, pd.factorize(table["source"], sort=True)[0])


def coefficients(rows: Rows, keep: np.ndarray) -> np.ndarray:
    """Least squares over the rows of `keep`, every source with the same weight."""
    weight = 1 / np.sqrt(np.bincount(rows.source[keep], minlength=rows.source.max() + 1)[rows.source[keep]])
    return np.linalg.lstsq(rows.x[keep] * weight[:, None], rows.y[keep] * weight, rcond=None)[0]


def left_out(rows: Rows, among: np.ndarray | None = None) -> np.ndarray:
    """Leave-one-source-out residuals within the rows of `among` (bool [rows]); NaN elsewhere."""
    among = np.ones(len(rows.y), bool) if among is None else among
    out = np.full(len(rows.y), np.nan)
    for source in np.unique(rows.source[among]):
        held = among & (rows.source == source)
        out[held] = rows.y[held] - rows.x[held] @ coefficients(rows, among & (rows.source != source))
    return out


def by_source(misses: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Mean squared error of each source."""
    return np.bincount(source, misses**2) / np.bincount(source)


def conformal_half(misses: np.ndarray, source: np.ndarray, level: float = LEVEL) -> float:
    """Half width of the conformal interval at this level: quantile of absolute residuals, every source with the same weight."""
    sources, code = np.unique(source, return_inverse=True)
    weight = 1 / (np.bincount(code)[code] * len(sources))
    order = np.argsort(np.abs(misses))
    reached = np.cumsum(weight[order]) >= min(1.0, level * (1 + 1 / len(sources))) - 1e-9
    return float(np.abs(misses[order][np.argmax(reached)])) if reached.any() else float(np.abs(misses).max())


class Width(NamedTuple):
    """Half width of an interval as a function of the prediction: half * exp(slope * (prediction - centre)).

    On nearly solved sets a few test errors decide, so log-scale errors are larger than on hard ones; a constant width would be
    three times too wide for most. Predictions are clipped to [least, most] first.
    """

    half: float
    slope: float
    centre: float
    least: float
    most: float

    def at(self, predicted: np.ndarray | float) -> np.ndarray:
        """Half widths, float as `predicted`."""
        within = np.clip(predicted, self.least, self.most)
        return self.half * np.exp(self.slope * (within - self.centre))


def width_of(predicted: np.ndarray, misses: np.ndarray, source: np.ndarray) -> Width:
    """Locally scaled conformal width at `LEVEL` [1]_, from leave-one-source-out predictions and residuals.

    The slope of log |residual| on the prediction is fitted by least squares and clipped to `SLOPES`; the scaled residuals then give
    one conformal quantile, every source with the same weight.

    References
    ----------
    .. [1] H. Papadopoulos, V. Vovk, A. Gammerman, Regression conformal prediction with nearest neighbours, JAIR 40 (2011).
    """
    least, centre, most = (float(q) for q in np.quantile(predicted, ENDS))
    weight = 1 / np.sqrt(np.bincount(source)[source])
    at = np.clip(predicted, least, most) - centre
    x, y = np.stack([np.ones(len(at)), at], axis=1), np.log(np.maximum(np.abs(misses), LEAST_MISS))
    slope = float(np.clip(np.linalg.lstsq(x * weight[:, None], y * weight, rcond=None)[0][1], *SLOPES))
    return Width(conformal_half(misses / np.exp(slope * at), source, LEVEL), slope, centre, least, most)


def nested_intervals(rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(prediction, residual, half width) of each row, float64 [rows]; no interval uses the row's own source."""
    outer = left_out(rows)
    half = np.empty(len(rows.y))
    for source in np.unique(rows.source):
        others = rows.source != source
        inner = left_out(rows, others)[others]
        code = np.unique(rows.source[others], return_inverse=True)[1]
        half[~others] = width_of(rows.y[others] - inner, inner, code).at((rows.y - outer)[~others])
    return rows.y - outer, outer, half


def nested_coverage(rows: Rows) -> tuple[float, float]:
    """(coverage of the nested intervals, mean half width), every source with the same weight."""
    return coverage_of(rows, *nested_intervals(rows)[1:])


def coverage_of(rows: Rows, outer: np.ndarray, half: np.ndarray) -> tuple[float, float]:
    """As `nested_coverage`, from the residuals and half widths [rows]."""
    inside = (np.abs(outer) <= half).astype(float)
    means = (np.bincount(rows.source, values) / np.bincount(rows.source) for values in (inside, half))
    covered, halves = means
    return float(covered.mean()), float(halves.mean())


def coverage_by_quarters(
    predicted: np.ndarray, outer: np.ndarray, half: np.ndarray
) -> tuple[tuple[float, int, int], ...]:
    """For each quarter of the predictions, lowest first: (upper end, rows, rows inside their interval).

    Arguments as returned by `nested_intervals`.
    """
    ends = np.quantile(predicted, [0.25, 0.5, 0.75, 1.0])
    quarter, inside = np.searchsorted(ends[:3], predicted), np.abs(outer) <= half
    return tuple((float(end), int((quarter == q).sum()), int(inside[quarter == q].sum())) for q, end in enumerate(ends))


def bootstrap_sources(values: np.ndarray) -> tuple[float, float, float]:
    """Mean of one value per source, with its 95 % interval over resampled sources."""
    rng = np.random.default_rng([0, 23])
    draws = values[rng.integers(0, len(values), (DRAWS, len(values)))].mean(1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def _doubled_pairs(cells: pd.DataFrame) -> pd.DataFrame:
    """Networks at N paired with those at 2N: measured `change` in log loss, and the change `told` by the probe's curve."""
    key = ["dataset", "source", "model", "seed"]
    later = cells[[*key, "n_train", "test_loss_scaled"]].assign(n_train=cells["n_train"] // 2)
    pairs = cells.merge(later, on=[*key, "n_train"], suffixes=("", "_later"))
    pairs = pairs[(pairs["p_wrong"] >= LEAST_ERRORS) & pairs["gain2"].notna()]
    before, after = (np.log(np.maximum(pairs[f"test_loss_scaled{end}"], FLOOR_LOSS)) for end in ("", "_later"))
    return pairs.assign(change=after - before, told=np.log(1 - pairs["gain2"].astype(float)))


def doubling_score(cells: pd.DataFrame, mean: float | None = None) -> dict[str, Any]:
    """How well the probe's learning curve predicts the change in networks' log loss from N to 2N, against a constant.

    Only where the probe makes at least ten held-out errors at N.

    Parameters
    ----------
    cells : DataFrame
    mean : float, optional
        The constant; by default the mean change of the other sources of `cells`.

    Returns
    -------
    dict
        miss (mean absolute error, log scale, every source with the same weight), baseline_miss (of the constant), change (mean
        change), gain {value, low, high}, pairs, sources.
    """
    pairs = _doubled_pairs(cells)
    change, code = pairs["change"].to_numpy(float), pd.factorize(pairs["source"], sort=True)[0]
    count = np.bincount(code)
    means = np.bincount(code, change) / count
    expected = (means.sum() - means[code]) / (len(means) - 1) if mean is None else np.full(len(code), mean)
    told = pairs["told"].to_numpy(float)
    miss, base = (np.bincount(code, np.abs(change - guess)) / count for guess in (told, expected))
    gain = dict(zip(("value", "low", "high"), bootstrap_sources(base - miss), strict=True))
    return {
        "miss": float(miss.mean()),
        "baseline_miss": float(base.mean()),
        "change": float(means.mean()),
        "gain": gain,
        "pairs": len(pairs),
        "sources": len(means),
    }


def rank_correlation(table: pd.DataFrame, form: str) -> dict[str, float]:
    """Spearman's correlation over tasks between leave-one-source-out predictions and measurements of the log penalty.

    The 95 % interval resamples sources.
    """
    rows = rows_of(table, FORMS[form], "log_penalty")
    y = TARGETS["log_penalty"](table)
    means = pd.DataFrame({"dataset": table["dataset"], "source": table["source"], "y": y, "f": y - left_out(rows)})
    means = means.groupby("dataset").agg({"source": "first", "y": "mean", "f": "mean"})
    code, names = pd.factorize(means["source"])
    rng = np.random.default_rng([0, 29])
    draws = [rng.integers(0, len(names), len(names)) for _ in range(DRAWS // 4)]
    times = np.stack([np.ones(len(names), np.int64), *(np.bincount(d, minlength=len(names)) for d in draws)])
    value, *found = _spearman(means["y"].to_numpy(), means["f"].to_numpy(), times[:, code]).tolist()
    low, high = np.nanquantile(found, [0.025, 0.975])
    return {"value": value, "low": float(low), "high": float(high)}


def _spearman(a: np.ndarray, b: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Spearman's correlations of a and b [n] under multiplicities int64 [draws, n]; NaN where one is constant.

    In integers up to the last division: ranks are doubled, so that tied ranks are integers.

    >>> _spearman(np.array([1.0, 2, 2, 5]), np.array([1.0, 3, 2, 9]), np.array([[1, 1, 1, 1], [1, 0, 0, 0]])).round(3).tolist()
    [0.949, nan]
    """
    one, two = (2 * times @ (v[:, None] < v) + times @ (v[:, None] == v) + 1 for v in (a, b))
    n = times.sum(axis=1)

    def covariance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return n * (times * x * y).sum(axis=1) - (times * x).sum(axis=1) * (times * y).sum(axis=1)

    with np.errstate(invalid="ignore"):
        return covariance(one, two) / np.sqrt(covariance(one, one).astype(float) * covariance(two, two))
