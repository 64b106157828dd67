"""The paper's figures from a calibration's table, with the audited dataset marked.

Each function draws one figure, or returns None if the table lacks its columns. Medical datasets are blue, natural ones orange,
others grey; the audited one (`Mark`) is black.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from dataprops.laws.fitting.fitted import FittedLaw
from dataprops.laws.fitting.laws import LAWS
from dataprops.report.svg import BLUE, GREY, ORANGE, Plot, new_figure, powers, svg_of
from dataprops.report.text import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"medical": BLUE, "natural": ORANGE}
OWN = "#111827"
CROWDED = 14  # with more datasets, names in a scatter plot would hide the points
SHARPNESS = "label sharpness K_F, 1 / grey level"
DIMENSION = "intrinsic dimension d_data"


class Mark(NamedTuple):
    """The audited dataset in a calibration's figures: name, properties, and predictions as (value, low, high)."""

    name: str
    d_data: float | None = None
    k_f: float | None = None
    test_loss: tuple[float, float | None, float | None] | None = None
    penalty: tuple[float, float | None, float | None] | None = None


def mark_of(summary: Mapping[str, Any]) -> Mark:
    """The mark of an audit, from its summary."""
    found = {p["name"]: p for p in summary["predictions"] if not p["withheld"]}

    def ends(name: str) -> tuple[float, float | None, float | None] | None:
        p = found.get(name)
        return None if p is None else (p["value"], p["low"], p["high"])

    dimension = (summary["intrinsic_dimension"].get("mle_paper") or {}).get("value")
    return Mark(
        visible(summary["dataset"]),
        dimension,
        summary["label_sharpness"]["sample"]["mean"],
        ends("test_loss"),
        ends("attack_penalty"),
    )


def _means(table: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Domain and column means of each dataset, over rows without missing values."""
    known = table.dropna(subset=list(columns))
    return known.groupby("dataset").agg({"domain": "first", **dict.fromkeys(columns, "mean")})


def _colour(domain: str) -> str:
    return COLOURS.get(domain, GREY)


def _legend(axes: Axes, domains: pd.Series, mark: Mark | None) -> None:
    from matplotlib.lines import Line2D

    there = sorted(set(domains))
    entries = [(name if name != "unknown" else "domain not given", _colour(name)) for name in there]
    entries += [(mark.name, OWN)] if mark else []
    handles = [Line2D([], [], marker="o", linestyle="", color=colour, label=name[:28]) for name, colour in entries]
    axes.legend(handles=handles, fontsize=7, frameon=False)


def _bars(table: pd.DataFrame, column: str, label: str, mark: Mark | None) -> Figure | None:
    means = _means(table, column)
    if means.empty:
        return None
    rows = [(str(name), float(row[column]), _colour(row["domain"])) for name, row in means.iterrows()]
    own = getattr(mark, column) if mark else None
    if mark and own is not None:
        rows.append((mark.name, float(own), OWN))
    rows.sort(key=lambda row: row[1])
    names = [row[0][:28] for row in _distinct(rows)]
    figure, axes = new_figure(max(1.8, 0.7 + 0.2 * len(rows)), names)
    axes.barh(names, [row[1] for row in rows], color=[row[2] for row in rows])
    axes.tick_params(axis="y", labelsize=8)
    axes.set_xlabel(label, fontsize=8)
    powers(axes.xaxis)
    _legend(axes, means["domain"], mark if own is not None else None)
    return figure


def _distinct(rows: list[tuple[str, float, str]]) -> list[tuple[str, float, str]]:
    """The rows with unique names: the audited dataset may have the name of a calibration dataset."""
    return [(f"{name} (this audit)" if colour == OWN else name, value, colour) for name, value, colour in rows]


def dimension_bars(table: pd.DataFrame, mark: Mark | None = None) -> Figure | None:
    """Mean d_data of each dataset."""
    return _bars(table, "d_data", f"{DIMENSION} (MLE, paper)", mark)


def sharpness_bars(table: pd.DataFrame, mark: Mark | None = None) -> Figure | None:
    """Mean K_F of each dataset."""
    return _bars(table, "k_f", SHARPNESS, mark)


def loss_against_dimension(table: pd.DataFrame, mark: Mark | None = None) -> Figure | None:
    """Test loss (log scale) against d_data: one point per dataset and training size, mean over networks."""
    known = table.dropna(subset=["d_data", "test_loss"])
    known = known[known["test_loss"] > 0]
    if known.empty:
        return None
    points = known.groupby(["dataset", "n_train"], dropna=False).agg(
        {"domain": "first", "d_data": "mean", "test_loss": "mean"}
    )
    figure, axes = new_figure(3.2)
    axes.scatter(
        points["d_data"], points["test_loss"], c=[_colour(domain) for domain in points["domain"]], s=16, alpha=0.8
    )
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("")
    _names(axes, points.groupby("dataset")[["d_data", "test_loss"]].mean())
    if mark and mark.d_data is not None:
        _place(axes, mark.d_data, mark.test_loss)
    axes.set_xlabel(f"{DIMENSION} (MLE, paper)", fontsize=8)
    axes.set_ylabel("test loss, nats", fontsize=8)
    _legend(axes, points["domain"], mark)
    return figure


def penalty_against_sharpness(table: pd.DataFrame, mark: Mark | None = None) -> Figure | None:
    """Increase of the loss under attack against K_F: one point per dataset, least-squares line, and r."""
    means = _means(table, "k_f", "penalty_2")
    if means.empty:
        return None
    k, penalty = means["k_f"].to_numpy(), means["penalty_2"].to_numpy()
    figure, axes = new_figure(3.2, top=0.3)
    axes.scatter(k, penalty, c=[_colour(domain) for domain in means["domain"]], s=22)
    _names(axes, means[["k_f", "penalty_2"]])
    if len(k) > 2 and np.ptp(k) > 0 and np.ptp(penalty) > 0:
        slope = np.polyfit(k / k.std(), penalty, 1)
        ends = np.array([k.min(), k.max()])
        axes.plot(ends, np.polyval(slope, ends / k.std()), color=GREY, linewidth=1)
        axes.set_title(f"r = {np.corrcoef(k, penalty)[0, 1]:.2f} over {len(k)} datasets", fontsize=8, loc="left")
    if mark and mark.k_f is not None:
        _place(axes, mark.k_f, mark.penalty)
    axes.set_xlabel(SHARPNESS, fontsize=8)
    powers(axes.xaxis)
    axes.set_ylabel("loss increase under FGSM, eps 2/255, nats", fontsize=8)
    _legend(axes, means["domain"], mark)
    return figure


def representation_against_data(table: pd.DataFrame, mark: Mark | None = None) -> Figure | None:
    """d_repr of the last block against d_data, one point per row, with the bound d_repr = d_data."""
    known = table.dropna(subset=["d_repr_last", "d_data"])
    if known.empty:
        return None
    figure, axes = new_figure(3.2)
    axes.scatter(known["d_data"], known["d_repr_last"], c=[_colour(d) for d in known["domain"]], s=14, alpha=0.7)
    top = float(max(known["d_data"].max(), known["d_repr_last"].max())) * 1.05
    axes.plot([0, top], [0, top], color=GREY, linewidth=1, linestyle="--")
    if mark and mark.d_data is not None:
        _place(axes, mark.d_data, None)
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"{DIMENSION} (MLE, paper)", fontsize=8)
    axes.set_ylabel("dimension of the representation", fontsize=8)
    _legend(axes, known["domain"], mark)
    return figure


def left_out_misses(table: pd.DataFrame, line: FittedLaw) -> Figure | None:
    """Residuals of a law on each held-out dataset, one point per row."""
    if not line.residuals:
        return None
    names = sorted(line.residuals, key=lambda name: float(np.median(line.residuals[name])))
    domain = table.groupby("dataset")["domain"].first()
    shorts = [name[:28] for name in names]
    figure, axes = new_figure(max(1.8, 0.9 + 0.2 * len(names)), shorts, top=0.3)
    for at, name in enumerate(names):
        values = line.residuals[name]
        axes.scatter(values, np.full(len(values), at), color=_colour(str(domain.get(name, ""))), s=10, alpha=0.6)
    axes.axvline(0, color=GREY, linewidth=1)
    axes.set_yticks(range(len(names)), shorts, fontsize=8)
    law = LAWS[line.law]
    axes.set_xlabel(f"measured minus predicted, dataset held out, {law.unit}", fontsize=8)
    axes.set_title(f"{law.title}; slopes {line.form}", fontsize=7, loc="left")
    return figure


def _names(axes: Axes, at: pd.DataFrame) -> None:
    if len(at) <= CROWDED:
        for name, x, y in at.itertuples():
            axes.annotate(
                str(name)[:16], (x, y), xytext=(3, 3), textcoords="offset points", fontsize=6, color="#374151"
            )


def _place(axes: Axes, x: float, y: tuple[float, float | None, float | None] | None) -> None:
    """Mark the audited dataset: a line at its measured value, and its prediction with interval."""
    axes.axvline(x, color=OWN, linewidth=0.8, linestyle=":")
    if y is None:
        return
    value, low, high = y
    error = None if low is None or high is None else [[value - low], [high - value]]
    axes.errorbar([x], [value], yerr=error, fmt="D", color=OWN, markersize=5, capsize=3)


PAPER_FIGURES = {
    "dimension_by_domain": (dimension_bars, "Intrinsic dimension of the calibration datasets, by domain"),
    "sharpness_by_domain": (sharpness_bars, "Label sharpness of the calibration datasets, by domain"),
    "loss_against_dimension": (loss_against_dimension, "Test loss against intrinsic dimension"),
    "penalty_against_sharpness": (penalty_against_sharpness, "Loss increase under attack against label sharpness"),
    "representation_against_data": (
        representation_against_data,
        "Dimension of the representation against that of the data",
    ),
}


def calibration_figures(table: pd.DataFrame, lines: Mapping[str, FittedLaw]) -> dict[str, Figure]:
    """All figures that the table allows, by name: the paper's, and the held-out residuals of each law."""
    drawn = {name: draw(table) for name, (draw, _) in PAPER_FIGURES.items()}
    drawn |= {f"left_out_{law}": left_out_misses(table, line) for law, line in lines.items()}
    return {name: figure for name, figure in drawn.items() if figure is not None}


def placed_figures(table: pd.DataFrame | None, summary: Mapping[str, Any]) -> list[Plot]:
    """The paper's figures with the audited dataset marked; none without a table."""
    if table is None:
        return []
    mark = mark_of(summary)
    drawn = [(draw(table, mark), f"{alt}, and {mark.name}") for draw, alt in PAPER_FIGURES.values()]
    return [Plot(alt, svg_of(figure, alt)) for figure, alt in drawn if figure is not None]
