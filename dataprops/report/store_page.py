"""The index page of a store: datasets compared, their history, the most severe alerts, and running audits.

Reads only summaries of finished runs; while an audit runs, the page refreshes itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pandas as pd

from dataprops.laws.paper import PAPER_SCALE, PAPER_SIZE, load_calibration
from dataprops.report.figures import COLOURS
from dataprops.report.page import asset, content_policy, environment
from dataprops.report.standing import SCALE, SIDE, Place, place_of, preprocessing
from dataprops.report.svg import BLUE, GREY, INK, Plot, new_figure, powers, short, svg_of, tip
from dataprops.report.terminal_history import sparkline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = 6.5  # font size of dataset names in a plot, points
RUNS_SHOWN = 50
WORST = 8
CALIBRATED = 256  # training size at which the calibration's sources are plotted: nearly all have it
PLOTS = 4  # preprocessings plotted, those with the most datasets
SEVERITY = ("critical", "warning", "info")


def _summary(path: Path) -> dict[str, Any] | None:
    """The page's data of a run; None if its summary cannot be read."""
    try:
        return _read(str(path), path.stat().st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=4096)
def _read(path: str, time: int) -> dict[str, Any] | None:
    try:
        summary = json.loads(Path(path).read_text(encoding="utf-8"))
        return {
            "place": place_of(summary),
            "preprocessing": preprocessing(summary),
            "alerts": [{"severity": a["severity"], "sentence": a["sentence"]} for a in summary.get("alerts", ())],
            "n": int(summary["n_images"]),
            "created": str(summary["created"]),
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _dataset(folder: Path) -> dict[str, Any] | None:
    """A dataset and its runs, newest first."""
    found = sorted(folder.glob("*/summary.json"), reverse=True)[:RUNS_SHOWN]
    if not found:
        return None
    base = f"/results/{quote(folder.name)}/"
    read = [_summary(path) for path in found]
    runs = [
        {
            "id": path.parent.name,
            "href": f"{base}{quote(path.parent.name)}/",
            "n": s and s["n"],
            "alerts": len(s["alerts"]) if s else 0,
        }
        for path, s in zip(found, read, strict=True)
    ]
    s = next((s for s in read if s is not None), None)
    place = s["place"] if s else Place(folder.name, None, None, None)
    same = [r["place"].dimension for r in reversed(read) if r and s and r["preprocessing"] == s["preprocessing"]]
    return {
        "name": folder.name,
        "href": f"{runs[0]['href']}report.html",
        "runs": runs,
        "place": place._replace(name=folder.name),
        "dimension": place.dimension,
        "sharpness": place.sharpness,
        "error": place.error,
        "preprocessing": s["preprocessing"] if s else "",
        "alerts": s["alerts"] if s else [],
        "severity": next(
            (level for level in SEVERITY if s and any(a["severity"] == level for a in s["alerts"])), "good"
        ),
        "n": s["n"] if s else 0,
        "created": s["created"] if s else "",
        "line": sparkline(same) if len(same) > 1 else "",
    }


def names_beside(axes: Axes, points: Sequence[tuple[str, float, float]]) -> list[tuple[float, float, float, float]]:
    """Label points, avoiding overlaps; returns the labels' boxes (left, bottom, right, top), points.

    Tries four positions per label and takes the one with the least overlap. Axis limits must be set.
    """
    (x0, x1), (y0, y1), frame = axes.get_xlim(), axes.get_ylim(), axes.get_position()
    figure: Any = axes.get_figure(root=True)
    across, up = (72 * side for side in figure.get_size_inches())
    across, up = across * frame.width, up * frame.height
    at = [((x - x0) / (x1 - x0) * across, (y - y0) / (y1 - y0) * up) for _, x, y in points]
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in at]
    boxes: list[tuple[float, float, float, float]] = []
    for own, ((name, x, y), (px, py)) in enumerate(zip(points, at, strict=True)):
        wide, best = 0.56 * NAME * len(name), None
        for dx, dy in ((5, 3), (-5, 3), (5, -9), (-5, -9)):
            left = px + dx if dx > 0 else px + dx - wide
            box = (left, py + dy, left + wide, py + dy + NAME)
            out = max(0.0, -box[0]) + max(0.0, box[2] - across) + max(0.0, -box[1])
            covered = sum(_shared(box, other) for i, other in enumerate([*taken, *boxes]) if i != own)
            if best is None or covered + NAME * out < best[0]:
                best = covered + NAME * out, dx, dy, box
        assert best is not None
        _, dx, dy, box = best
        boxes.append(box)
        side = "left" if dx > 0 else "right"
        axes.annotate(
            name, (x, y), xytext=(dx, dy), textcoords="offset points", fontsize=NAME, color=INK, ha=side, va="bottom"
        )
    return boxes


def _shared(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Overlap area of two boxes."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _scatter(
    places: Sequence[Place], field: str, label: str, others: Sequence[tuple[Place, str]], shown: float = 1
) -> Any:
    figure, axes = new_figure(3.2)
    marked = [(place, BLUE, "o") for place in places] + [(place, colour, "x") for place, colour in others]
    marked = [m for m in marked if m[0].dimension is not None and getattr(m[0], field) is not None]
    if len(marked) < 2 or not any(m[2] == "o" for m in marked):
        return None  # a single point adds nothing to the table
    right = 1.25 * max(place.dimension or 0.0 for place, _, _ in marked)
    for place, colour, marker in marked:
        y = shown * getattr(place, field)
        (point,) = axes.plot([place.dimension or 0.0], [y], marker, color=colour, markersize=6)
        tip(point, f"{place.name}: dimension {place.dimension:.3g}, {label} {y:.3g}")
    # start at zero, so as not to exaggerate small differences
    axes.set_xlim(0, right)
    axes.set_ylim(0, 1.15 * max(shown * getattr(place, field) for place, _, _ in marked))
    names_beside(
        axes,
        [(short(place.name), place.dimension or 0.0, shown * getattr(place, field)) for place, _, _ in marked],
    )
    axes.set_xlabel("intrinsic dimension (MLE)", fontsize=8)
    axes.set_ylabel(label, fontsize=8)
    powers(axes.yaxis)
    return figure


def _paper() -> list[tuple[Place, str]]:
    rows: Any = load_calibration().itertuples()
    return [(Place(row.dataset, row.d_data, row.label_sharpness, None), COLOURS.get(row.domain, GREY)) for row in rows]


def _calibration(how: str) -> list[tuple[Place, str]]:
    """The shipped calibration's sources at `CALIBRATED` images, if they have this preprocessing."""
    with (files("dataprops.laws") / "calibration" / "probe" / "cells.csv").open(encoding="utf-8") as file:
        cells: Any = pd.read_csv(file)  # as `laws.networks.load_cells`, without importing torch
    for channels in (1, 3):
        if how == f"{SIDE} × {SIDE} × {channels}, {SCALE}":
            cells = cells[(cells["n_train"] == CALIBRATED) & (cells["channels"] == channels)]
            means = cells.groupby("source").agg({"domain": "first", "d_data": "mean", "k_f": "mean", "p_error": "mean"})
            return [
                (Place(str(row.Index), row.d_data, row.k_f, row.p_error), COLOURS.get(row.domain, GREY))
                for row in means.dropna().itertuples()
            ]
    return []


def _plots(sets: Sequence[Mapping[str, Any]]) -> list[Plot]:
    """Plots per preprocessing: sharpness and, if known, classifier error against dimension."""
    by: dict[str, list[Place]] = {}
    for one in sets:
        if one["preprocessing"]:
            by.setdefault(one["preprocessing"], []).append(one["place"])
    out = []
    for how, places in sorted(by.items(), key=lambda item: -len(item[1]))[:PLOTS]:
        paper = how.startswith(f"{PAPER_SIZE} × {PAPER_SIZE} ") and how.endswith(PAPER_SCALE)
        others = _paper() if paper else _calibration(how)
        note = f"{how}." + (" Crosses: the paper's datasets." if paper else "")
        if others and not paper:
            note += f" Crosses: the sources of the shipped calibration, at {CALIBRATED} images."
        for field, label, times in (
            ("sharpness", "label sharpness, 1 / grey level", 1),
            ("error", "error of the reference classifier, %", 100),
        ):
            figure = _scatter(places, field, label, [o for o in others if getattr(o[0], field) is not None], times)
            if figure is not None:
                title = f"{label.split(',')[0].capitalize()} against dimension"
                out.append(Plot(title, svg_of(figure, f"{title}, {how}, {field}"), note))
    return out


@lru_cache(maxsize=4)
def _drawn(sets: tuple[tuple[str, Place], ...]) -> list[Plot]:
    return _plots([{"preprocessing": how, "place": place} for how, place in sets])


def render_store(store: Path, running: Sequence[Mapping[str, Any]] = ()) -> str:
    """The page of a store as one HTML document.

    Parameters
    ----------
    store : Path
    running : sequence of dict
        Status of running audits, see `audit.underway.running`; each with ``words``.
    """
    from markupsafe import Markup

    folders = sorted(path for path in (store / "results").glob("*") if path.is_dir())
    sets = [one for folder in folders if (one := _dataset(folder)) is not None]
    # within a severity, the first alert of each dataset before the second of any
    alerts = [
        (SEVERITY.index(alert["severity"]), at, {**alert, "dataset": one["name"], "href": one["href"]})
        for one in sets
        for at, alert in enumerate(one["alerts"])
        if alert["severity"] in SEVERITY[:2]
    ]
    worst = [alert for _, _, alert in sorted(alerts, key=lambda alert: alert[:2])[:WORST]]
    css = asset("style.css")
    shown = [
        {
            **run,
            "fraction": int(100 * run["done"] // run["total"]) if run.get("total") else None,
            "words": run.get("words", run.get("what", "")),
        }
        for run in running
    ]
    comparable = tuple((one["preprocessing"], one["place"]) for one in sets)
    return (
        environment()
        .from_string(asset("store.html.jinja"))
        .render(
            css=Markup(css),
            policy=content_policy(css),
            sets=sets,
            worst=worst,
            running=shown,
            plots=_drawn(comparable) if any(not math.isnan(p.dimension or math.nan) for _, p in comparable) else [],
        )
    )
