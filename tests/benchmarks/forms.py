"""Further forms of the log loss and interval widths, evaluated as in truth.md ("Five further forms, ..."): JSON lines.

python -m tests.benchmarks.forms
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dataprops.laws.fitting import sources
from dataprops.laws.networks import best_form, load_cells
from dataprops.probe.curve import LATE

FAMILIES = ("cnn4", "vgg13", "resnet18", "mlp")
FORMS = {
    "probe": ("log_probe_loss", "log_n"),
    "probe_one": ("log_n",),
    "probe_classes": ("log_probe_loss", "log_n", "log_log_classes"),
    "probe_curve": ("log_probe_loss", "log_n", "curve_slope"),
    "probe_k": ("log_probe_loss", "log_n", "log_k_mean"),
    "probe_squared": ("log_probe_loss", "log_n", "log_probe_loss_squared"),
}


def _slopes(table: pd.DataFrame) -> np.ndarray:
    """Slope of the probe's log loss on log N over the last sizes of its curve."""
    out = []
    for told in table["curve"]:
        n, _, loss = np.array(json.loads(told), float)[-LATE:].T
        x, y = np.log(n), np.log(np.maximum(loss, sources.FLOOR_LOSS))
        out.append(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
    return np.array(out)


TERMS = sources.TERMS | {
    "log_log_classes": lambda table: np.log(np.log(table["classes"].to_numpy(float))),
    "log_probe_loss_squared": lambda table: sources.TERMS["log_probe_loss"](table) ** 2,
    "curve_slope": _slopes,
}


def rows_of(cells: pd.DataFrame, form: str, target: str = "log_loss") -> sources.Rows:
    """The design of one of `FORMS`."""
    x = np.stack([np.ones(len(cells)), *(TERMS[term](cells) for term in FORMS[form])], axis=1)
    y = sources.TARGETS[target](cells)
    return sources.Rows(
        x,
        y - TERMS["log_probe_loss"](cells) if form == "probe_one" else y,
        pd.factorize(cells["source"], sort=True)[0],
    )


def averaged(by_family: dict[str, pd.Series]) -> np.ndarray:
    """One number for each source: the mean over families."""
    return pd.DataFrame(by_family).mean(axis=1).to_numpy()


def interval(values: np.ndarray, level: float) -> list[float]:
    """Mean, and its interval over resampled sources."""
    rng = np.random.default_rng([0, 23])
    draws = values[rng.integers(0, len(values), (sources.DRAWS, len(values)))].mean(1)
    ends = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return [round(float(v), 3) for v in (values.mean(), *ends)]


def judged_forms(cells: pd.DataFrame) -> dict[str, Any]:
    """Form -> root mean square miss and its ratio to log N's by family, and what it gains over `probe` (99 %)."""
    squares: dict[str, dict[str, pd.Series]] = {}
    base = {}
    for family in FAMILIES:
        mine = cells[cells["model"] == family].reset_index(drop=True)
        names = np.unique(mine["source"])
        for form in FORMS:
            rows = rows_of(mine, form)
            square = sources.by_source(sources.left_out(rows), rows.source)
            squares.setdefault(form, {})[family] = pd.Series(square, names)
        plain = sources.rows_of(mine, sources.FORMS["log_n"], "log_loss")
        base[family] = float(np.sqrt(sources.by_source(sources.left_out(plain), plain.source).mean()))
    out: dict[str, Any] = {"log_n": {family: round(value, 2) for family, value in base.items()}}
    for form, found in squares.items():
        rmse = {family: float(np.sqrt(square.mean())) for family, square in found.items()}
        gain = averaged({family: squares["probe"][family] - found[family] for family in FAMILIES})
        out[form] = {
            "rmse": {family: round(value, 2) for family, value in rmse.items()},
            "ratio": {family: round(value / base[family], 2) for family, value in rmse.items()},
            "gain": interval(gain, 0.99),
        }
    return out


class Line(NamedTuple):
    """How |misses| change with the prediction: scale(prediction), up to a factor."""

    scale: Callable[[np.ndarray], np.ndarray]


def _exponential(least: float, slopes: tuple[float, float]) -> Callable[..., Line]:
    def fitted(predicted: np.ndarray, misses: np.ndarray, weight: np.ndarray) -> Line:
        ends = (
            np.quantile(predicted, (least, *sources.ENDS[1:]))
            if least
            else (-np.inf, *np.quantile(predicted, (0.5, 0.95)))
        )
        low, centre, high = (float(q) for q in ends)
        at = np.clip(predicted, low, high) - centre
        x = np.stack([np.ones(len(at)), at], 1)
        y = np.log(np.maximum(np.abs(misses), sources.LEAST_MISS))
        slope = float(np.clip(np.linalg.lstsq(x * weight[:, None], y * weight, rcond=None)[0][1], *slopes))
        return Line(lambda p: np.exp(slope * (np.clip(p, low, high) - centre)))

    return fitted


def _sum(predicted: np.ndarray, misses: np.ndarray, weight: np.ndarray) -> Line:
    centre = float(np.median(predicted))
    z = np.exp(-(predicted - centre))
    x, y = np.stack([np.ones(len(z)), z], 1), misses**2
    constant, few = np.maximum(np.linalg.lstsq(x * weight[:, None], y * weight, rcond=None)[0], 0)
    share = few / max(constant + few, 1e-12)
    return Line(lambda p: np.sqrt(np.maximum(1 + (np.exp(-(p - centre)) - 1) * share, 1e-3)))


WIDTHS: dict[str, Callable[..., Line]] = {
    "present": _exponential(sources.ENDS[0], sources.SLOPES),
    "open": _exponential(0.0, sources.SLOPES),
    "steep": _exponential(sources.ENDS[0], (-1.2, 0.0)),
    "sum": _sum,
}


def nested(rows: sources.Rows, width: Callable[..., Line]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(prediction, miss, half width) of each row, none from its own source."""
    outer = sources.left_out(rows)
    half = np.empty(len(rows.y))
    for source in np.unique(rows.source):
        others = rows.source != source
        inner = sources.left_out(rows, others)[others]
        code = np.unique(rows.source[others], return_inverse=True)[1]
        predicted = rows.y[others] - inner
        line = width(predicted, inner, 1 / np.sqrt(np.bincount(code)[code]))
        factor = sources.conformal_half(inner / line.scale(predicted), code)
        half[~others] = factor * line.scale((rows.y - outer)[~others])
    return rows.y - outer, outer, half


def judged_widths(cells: pd.DataFrame) -> dict[str, Any]:
    """Width -> coverage, median half width and coverage by quarters of each family and target, and its score beside the present's."""
    scores: dict[str, dict[str, pd.Series]] = {}
    out: dict[str, Any] = {}
    for name, width in WIDTHS.items():
        for target in ("log_loss", "logit_error"):
            for family in FAMILIES:
                mine = cells[cells["model"] == family].reset_index(drop=True)
                form = best_form(target, family).form
                rows = sources.rows_of(mine, sources.FORMS[form], target)
                predicted, miss, half = nested(rows, width)
                inside = np.abs(miss) <= half
                score = 2 * half + 2 / (1 - sources.LEVEL) * np.maximum(np.abs(miss) - half, 0)
                count = np.bincount(rows.source)
                quarter = np.searchsorted(np.quantile(predicted, [0.25, 0.5, 0.75]), predicted)
                scores.setdefault(name, {})[f"{target} {family}"] = pd.Series(
                    np.bincount(rows.source, score) / count, np.unique(mine["source"])
                )
                out.setdefault(name, {})[f"{target} {family}"] = {
                    "coverage": round(float((np.bincount(rows.source, inside) / count).mean()), 3),
                    "median_half": round(float(np.median(half)), 2),
                    "score": round(float((np.bincount(rows.source, score) / count).mean()), 2),
                    "quarters": [round(float(inside[quarter == q].mean()), 2) for q in range(4)],
                }
    for name in WIDTHS:
        gain = averaged({key: scores["present"][key] - scores[name][key] for key in scores[name]})
        out[name]["gain"] = interval(gain, 0.98)
    return out


def main() -> None:
    """Print both tables."""
    cells = sources.converged(load_cells())
    for name, told in judged_forms(cells).items():
        print(json.dumps({"form": name} | told))
    for name, told in judged_widths(cells).items():
        for key, found in told.items():
            print(json.dumps({"width": name, "of": key, "is": found}))


if __name__ == "__main__":
    main()
