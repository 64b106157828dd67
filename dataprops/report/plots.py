"""The plots of the report.

Each function in `PLOTS` takes a `Drawn` and returns a `Plot`, whose title states its result, or None. Figures are converted to SVG
by `svg`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from dataprops.properties.estimators import ESTIMATORS as DIMENSIONS
from dataprops.properties.estimators import title_of
from dataprops.report.more_images import doubled_error, is_numeric
from dataprops.report.numbers import number, percent
from dataprops.report.svg import (
    BLUE,
    GREEN,
    GREY,
    INK,
    LETTER,
    ORANGE,
    Plot,
    add_box,
    new_figure,
    powers,
    short,
    svg_of,
    tip,
)
from dataprops.util import helper

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHADES = (BLUE, ORANGE, GREEN, "#cc79a7", "#e69f00", GREY)
CLASSES = 12  # largest classes shown in a matrix
LIKE = 1.1  # size ratio up to which classes count as equal
TOGETHER = 0.04  # lines closer than this fraction of the plot's width share a label


class Drawn(NamedTuple):
    """Input of the plots: summary and tables of the run, and records of earlier runs."""

    summary: Mapping[str, Any]
    tables: Mapping[str, pd.DataFrame]
    history: Sequence[Mapping[str, Any]] = ()


def _bins(count: int) -> int:
    return min(60, max(5, int(math.sqrt(count))))


def _histogram(axes: Axes, values: np.ndarray, what: str) -> None:
    counts, edges = np.histogram(values, bins=_bins(len(values)))
    for count, low, high in zip(counts.tolist(), edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if count:
            add_box(
                axes, low, 0, high - low, count, f"{count:,} images: {what} {number(low)} to {number(high)}", color=BLUE
            )
    axes.set_ylabel("images", fontsize=8)
    margin = 0.05 * (edges[-1] - edges[0])
    axes.set_xlim(edges[0] - margin, edges[-1] + margin)
    axes.set_ylim(0, 1.18 * counts.max())  # room for line labels above the bars


def distance_histogram(drawn: Drawn) -> Plot | None:
    """Distances to the nearest image, with the near-identical threshold."""
    distances, near = drawn.tables["images"]["neighbour_distance"].to_numpy(float), drawn.summary["near_distance"]
    values = distances[np.isfinite(distances) & (distances > 0)]
    if len(values) < 2:
        return None
    figure, axes = new_figure()
    _histogram(axes, values, "distance")
    if near > 0:
        axes.axvline(near, color=ORANGE, linewidth=1.5)
        axes.set_xlim(left=0)
        axes.annotate(
            "near-identical",
            (near, axes.get_ylim()[1]),
            xytext=(5, -1),
            textcoords="offset points",
            color=ORANGE,
            fontsize=8,
            va="top",
        )
    axes.set_xlabel("distance to the nearest image, grey levels", fontsize=8)
    powers(axes.xaxis)
    within = int((values <= near).sum())
    told = (
        f"{within:,} of {len(values):,} images have a near-identical neighbour"
        if within
        else "No image has a near-identical neighbour"
    )
    return Plot(told, svg_of(figure, f"Histogram of nearest-neighbour distances. {told}."))


def sharpness_histogram(drawn: Drawn) -> Plot | None:
    """Sharpness of each image, with its upper quantiles and maximum."""
    values = drawn.tables["images"]["sharpness"].to_numpy(float)
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return None
    sharp = drawn.summary["label_sharpness"]
    figure, axes = new_figure()
    _histogram(axes, values, "sharpness")
    height, (left, right) = axes.get_ylim()[1], axes.get_xlim()
    named: list[tuple[float, str]] = []  # lines close together share a label
    for name, at in (("95 %", sharp["q95"]), ("99 %", sharp["q99"]), ("max", float(values.max()))):
        if at is None:
            continue
        axes.axvline(at, color=ORANGE, linewidth=1)
        if named and at - named[-1][0] < TOGETHER * (right - left):
            named[-1] = at, f"{named[-1][1]}, {name}"
        else:
            named.append((at, name))
    for place, (at, name) in enumerate(named):
        axes.text(at, height * (1 - 0.07 * (place % 2)), f"{name} ", color=ORANGE, fontsize=8, va="top", ha="right")
    axes.set_xlabel("label sharpness of the image, 1 / grey level", fontsize=8)
    powers(axes.xaxis)
    times = float(values.max() / np.median(values)) if np.median(values) > 0 else math.nan
    told = f"The sharpest image is {number(times)} times as sharp as the median"
    return Plot(told, svg_of(figure, f"Histogram of the label sharpness of each image. {told}."))


def class_sharpness(drawn: Drawn) -> Plot | None:
    """Sharpest known pair of images for each pair of classes."""
    images = drawn.tables["images"]
    if drawn.summary["labels"]["kind"] != "classes" or "sharpest_image" not in images:
        return None
    known = images[images["label"].notna() & (images["sharpest_image"] >= 0) & np.isfinite(images["sharpness"])]
    if known.empty:
        return None
    other = images["label"].to_numpy(object)[known["sharpest_image"].to_numpy(int)]
    pairs = pd.DataFrame(
        {"a": known["label"].to_numpy(object), "b": other, "sharpness": known["sharpness"].to_numpy(float)}
    ).dropna()
    sizes = known["label"].value_counts()
    names = sorted(sizes.index[:CLASSES])
    if len(names) < 2:
        return None
    place = {name: at for at, name in enumerate(names)}
    grid = np.full((len(names), len(names)), np.nan)
    sharpest = pairs[pairs["a"].isin(names) & pairs["b"].isin(names)].groupby(["a", "b"])["sharpness"].max()
    for (a, b), value in sharpest.items():
        i, j = place[a], place[b]
        grid[i, j] = grid[j, i] = np.nanmax([grid[i, j], value])
    if np.isnan(grid).all():
        return None
    i, j = np.unravel_index(np.nanargmax(grid), grid.shape)
    told = f"{short(names[i])} and {short(names[j])} have the most similar pair with different labels"
    note = "Label sharpness, 1 / grey level: the higher, the more similar."
    if len(names) > 2:
        note += " Only each image's nearest image of another class counts: a cell may be empty."
    return Plot(told, svg_of(_matrix(grid, names, "sharpness"), f"Label sharpness by pair of classes. {told}."), note)


def _shade(level: float) -> tuple[float, ...]:
    """Colour for a level from 0 to 1; darker is higher, on light and dark pages."""
    light, dark, at = (220, 235, 245), (0, 98, 156), 0.15 + 0.85 * level
    return tuple((a + (b - a) * at) / 255 for a, b in zip(light, dark, strict=True))


def _matrix(grid: np.ndarray, names: Sequence[Any], what: str, shown: Callable[[float], str] = number) -> Figure:
    shorts = [short(name) for name in names]
    longest = max(map(len, shorts))
    turned = longest * LETTER * len(names) > 3.0  # horizontal labels would overlap
    figure, axes = new_figure(height=min(5.0, max(1.8, 0.34 * len(names) + 0.7)), names=shorts)
    if turned:
        below = min(1.4, 0.25 + 0.72 * LETTER * longest)
        width, height = figure.get_size_inches()
        figure.set_size_inches(width, height + below - 0.3)
        place, height = axes.get_position(), height + below - 0.3
        axes.set_position((place.x0, below / height, place.width, (height - below - 0.12) / height))
    top, low = float(np.nanmax(grid)), float(np.nanmin(grid))
    for i in range(len(names)):
        for j in range(len(names)):
            value = grid[i, j]
            if not np.isfinite(value):
                continue
            level = 1.0 if top == low else (value - low) / (top - low)
            shade = _shade(level)
            told = f"{names[i]}, {names[j]}: {what} {shown(float(value))}"
            add_box(axes, j - 0.48, i - 0.48, 0.96, 0.96, told, facecolor=shade)
            if len(names) <= 6:
                dark = level > 0.55
                axes.text(
                    j,
                    i,
                    shown(float(value)),
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="#fefefe" if dark else "#0f1720",
                )
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    turn = {"rotation": 40, "ha": "right"} if turned else {}
    axes.set_xticks(range(len(names)), shorts, fontsize=8, **turn)
    axes.set_yticks(range(len(names)), shorts, fontsize=8)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    return figure


def learning_curve(drawn: Drawn) -> Plot | None:
    """Learning curve of the reference classifier, extrapolated to twice as many images."""
    probe = drawn.summary.get("probe") or {}
    curve = [p for p in probe.get("curve") or () if p.get("error") is not None]
    if len(curve) < 2:
        return None
    n, error = [p["n"] for p in curve], [100 * p["error"] for p in curve]
    figure, axes = new_figure()
    numeric = is_numeric(probe)
    missed = "not explained" if numeric else "wrong"
    (line,) = axes.plot(n, error, "o-", color=BLUE, markersize=5)
    tip(line, "; ".join(f"{a:,} images: {percent(p['error'])} {missed}" for a, p in zip(n, curve, strict=True)))
    ends = probe.get("error") or {}
    if ends.get("low") is not None and ends.get("high") is not None:
        axes.plot([n[-1]] * 2, [100 * ends["low"], 100 * ends["high"]], color=BLUE, linewidth=1)
    ticks = list(n)
    gain = probe.get("gain_if_doubled") or {}
    told = "More images may not help"
    if gain.get("value") is None:
        told = "Error by number of images; the gain from more images is unknown"
    doubled = doubled_error(probe)
    if doubled and (gain.get("value") or 0) > 0 and (gain.get("low") is None or gain["low"] > 0):
        axes.plot([n[-1], 2 * n[-1]], [error[-1], 100 * doubled[1]], "--", color=ORANGE)
        (point,) = axes.plot([2 * n[-1]], [100 * doubled[1]], "D", color=ORANGE, markersize=6)
        tip(point, f"expected at {2 * n[-1]:,} images: {percent(doubled[1])} {missed}")
        ticks.append(2 * n[-1])
        what = "unexplained variance" if numeric else "error"
        told = f"Twice as many images: {what} from {percent(doubled[0])} to about {percent(doubled[1])}"
    axes.set_xscale("log")
    axes.set_xticks(ticks, [f"{t:,}" for t in ticks], fontsize=8)
    axes.minorticks_off()
    top = max(*error, 100 * (ends.get("high") or 0), 1.0)  # an error of 0 would coincide with the axis
    axes.set_ylim(-0.03 * top, 1.08 * top)
    axes.set_xlabel("training images of the reference classifier", fontsize=8)
    axes.set_ylabel("unexplained variance, %" if numeric else "error on held-out images, %", fontsize=8)
    if not any(error) and not numeric:
        told = "No held-out image is misclassified, at any training size"
    return Plot(told, svg_of(figure, f"Learning curve of the reference classifier. {told}."))


def confusion(drawn: Drawn) -> Plot | None:
    """Confusion matrix of the reference classifier."""
    table = drawn.tables.get("predictions")
    if table is None or "predicted" not in table or drawn.summary["labels"]["kind"] != "classes":
        return None
    label = drawn.tables["images"]["label"].to_numpy(object)[table["image"].to_numpy(int)]
    pairs = pd.DataFrame({"given": label, "predicted": table["predicted"].to_numpy(object)}).dropna().astype(str)
    if pairs.empty:
        return None
    names = sorted(pairs["given"].value_counts().index[:CLASSES])
    pairs = pairs[pairs["given"].isin(names) & pairs["predicted"].isin(names)]
    if len(names) < 2 or pairs.empty:
        return None
    place = {name: at for at, name in enumerate(names)}
    grid = np.zeros((len(names), len(names)))
    np.add.at(grid, (pairs["given"].map(place).to_numpy(), pairs["predicted"].map(place).to_numpy()), 1)
    fractions = grid / np.maximum(grid.sum(1, keepdims=True), 1)
    wrong = fractions - np.diag(np.diag(fractions))
    i, j = np.unravel_index(wrong.argmax(), wrong.shape)
    told = f"{percent(float(wrong[i, j]))} of {short(names[i])} are classified as {short(names[j])}"
    svg = svg_of(_matrix(fractions, names, "fraction", percent), f"Confusion of the reference classifier. {told}.")
    return Plot(told, svg, "Rows: given label. Columns: out-of-fold prediction of the reference classifier.")


def region_map(drawn: Drawn) -> Plot | None:
    """Regions of the pictures that alone predict the class, and locations of marks."""
    regions = drawn.summary.get("pixel_regions")
    if not regions:
        return None
    score = np.array(regions["score"], float)
    figure, axes = new_figure(height=3.0)
    axes.set_aspect("equal")
    for (row, column), value in np.ndenumerate(score):
        mark = regions["mark"][row][column]
        shade = _shade(max(float(value), 0.0))
        edge = {"edgecolor": ORANGE, "linewidth": 2.5} if mark is not None else {}
        told = f"row {row + 1}, column {column + 1}: {percent(max(float(value), 0.0))} of the gap between chance and perfect"
        told += f"; {percent(mark)} of one class bear a mark here" if mark is not None else ""
        add_box(axes, column - 0.46, row - 0.46, 0.92, 0.92, told, facecolor=shade, **edge)
    side = len(score)
    axes.set_xlim(-0.5, side - 0.5)
    axes.set_ylim(side - 0.5, -0.5)
    axes.set_xticks([0, side - 1], ["left", "right"], fontsize=8)
    axes.set_yticks([0, side - 1], ["top", "bottom"], fontsize=8)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    row, column = np.unravel_index(np.nanargmax(score), score.shape)
    title = (
        f"The best single region (row {row + 1}, column {column + 1} of 8 x 8) goes {percent(float(score[row, column]))} of the way"
        " from guessing to knowing the class"
    )
    note = "Dark: brightness and contrast of this cell alone predict the class. Dark cells at the edge and orange cells are suspect."
    return Plot(title, svg_of(figure, f"Map of how well single regions predict the class. {title}."), note)


def dimension_estimates(drawn: Drawn) -> Plot | None:
    """Dimension estimates with two standard errors."""
    properties = drawn.tables["properties"]
    table = properties[properties["property"].isin([f"intrinsic_dimension.{name}" for name in DIMENSIONS])]
    table = table[np.isfinite(table["value"])]
    if table.empty:
        return None
    labels = [title_of(name.split(".", 1)[1], short=True) for name in table["property"]]
    figure, axes = new_figure(names=labels)
    at = np.arange(len(table))[::-1]
    axes.errorbar(table["value"], at, xerr=2 * table["se"].fillna(0.0), fmt="none", ecolor=BLUE, capsize=3)
    for name, value, se, y in zip(labels, table["value"], table["se"], at, strict=True):
        (point,) = axes.plot([value], [y], "o", color=BLUE, markersize=5)
        tip(point, f"{name}: {number(value)}, standard error {number(se, 2)}")
    axes.set_yticks(at, labels, fontsize=8)
    axes.set_ylim(-0.7, len(table) - 0.3)
    axes.set_xlim(left=0)
    axes.set_xlabel("intrinsic dimension, ± 2 standard errors", fontsize=8)
    low, high = float(table["value"].min()), float(table["value"].max())
    told = f"Dimension estimates range from {number(low)} to {number(high)}"
    return Plot(told, svg_of(figure, f"{told}, with error bars."))


def dimension_against_n(drawn: Drawn) -> Plot | None:
    """Maximum-likelihood estimate on random subsets and on the whole dataset."""
    properties = drawn.tables["properties"]
    subset = properties[properties["property"].str.startswith("intrinsic_dimension.mle@")]
    whole = properties[properties["property"] == "intrinsic_dimension.mle"]
    table = pd.concat([subset.assign(n=subset["m"]), whole])
    table = table[np.isfinite(table["value"])].sort_values("n")
    if len(table) < 2:
        return None
    figure, axes = new_figure()
    axes.errorbar(table["n"], table["value"], yerr=2 * table["se"].fillna(0.0), fmt="o-", color=BLUE, capsize=3)
    axes.set_xscale("log")
    axes.set_xticks(table["n"], [f"{n:,}" for n in table["n"]], fontsize=8)
    axes.minorticks_off()
    axes.set_xlabel("images", fontsize=8)
    axes.set_ylabel("intrinsic dimension (MLE)", fontsize=8)
    first, last = float(table["value"].iloc[0]), float(table["value"].iloc[-1])
    way = "increases with the number of images" if last > 1.05 * first else "hardly depends on the number of images"
    told = f"The estimated dimension {way}"
    return Plot(told, svg_of(figure, f"Intrinsic dimension against the number of images. {told}."))


def class_counts(drawn: Drawn, most: int = 25) -> Plot | None:
    """Number of images per class and split."""
    images = drawn.tables["images"]
    labelled = images[images["label"].notna()]
    if labelled.empty or drawn.summary["labels"]["kind"] != "classes":
        return None
    sizes = labelled["label"].value_counts()
    if sizes.iloc[0] <= LIKE * sizes.iloc[-1] and labelled["split"].isna().all():
        return None  # bars of equal length are uninformative
    kept = sizes.index[:most]
    table = (
        labelled[labelled["label"].isin(kept)]
        .assign(split=labelled["split"].fillna("all"))
        .groupby(["label", "split"])
        .size()
        .unstack(fill_value=0)
        .reindex(kept)
    )
    shorts, several = [short(name) for name in kept], len(table.columns) > 1
    figure, axes = new_figure(height=max(1.6, 0.62 + 0.24 * len(kept)) + 0.3 * several, names=shorts)
    if several:  # room for the legend above
        place, height = axes.get_position(), figure.get_size_inches()[1]
        axes.set_position((place.x0, place.y0, place.width, place.height - 0.3 / height))
    at, left = np.arange(len(kept))[::-1], np.zeros(len(kept))
    for i, split in enumerate(table.columns):
        bars = axes.barh(at, table[split], left=left, color=SHADES[i % len(SHADES)], height=0.7, label=str(split))
        for bar, name, count in zip(bars, kept, table[split], strict=True):
            tip(bar, f"{name}{'' if split == 'all' else f', {split}'}: {count:,} images")
        left += table[split].to_numpy()
    axes.set_yticks(at, shorts, fontsize=8)
    if several:
        figure.legend(fontsize=8, frameon=False, loc="upper right", ncols=min(6, len(table.columns)))
    axes.set_xlabel(
        "images" if len(kept) == len(sizes) else f"images (the {most} largest of {len(sizes)} classes)", fontsize=8
    )
    powers(axes.xaxis)
    ratio = sizes.iloc[0] / max(1, sizes.iloc[-1])
    told = (
        f"The largest class has {number(float(ratio), 2)} times the images of the smallest"
        if ratio > LIKE
        else "The classes are of similar size"
    )
    return Plot(told, svg_of(figure, f"Images of each class. {told}."))


def local_dimensions(drawn: Drawn, most: int = 6) -> Plot | None:
    """Box plots of the local dimension by class."""
    images = drawn.tables["images"]
    values = images[np.isfinite(images["local_dimension"])]
    if len(values) < 2:
        return None
    names = values["label"].value_counts().index[:most] if values["label"].notna().any() else []
    parts = [values.loc[values["label"] == name, "local_dimension"].to_numpy() for name in names] or [
        values["local_dimension"].to_numpy()
    ]
    labels = [short(name) for name in names] or ["all images"]
    figure, axes = new_figure(height=max(1.6, 0.7 + 0.35 * len(parts)), names=labels)
    drawing = axes.boxplot(
        parts[::-1],
        orientation="horizontal",
        showfliers=False,
        medianprops={"color": ORANGE},
        boxprops={"color": BLUE},
        whiskerprops={"color": BLUE},
        capprops={"color": BLUE},
        widths=0.6,
    )
    for box, name, part in zip(drawing["boxes"], labels[::-1], parts[::-1], strict=True):
        low, middle, high = np.percentile(part, [25, 50, 75])
        tip(box, f"{name}: median {number(float(middle))}, quartiles {number(float(low))} and {number(float(high))}")
    axes.set_yticks(range(1, len(parts) + 1), labels[::-1], fontsize=8)
    axes.set_xlabel("local intrinsic dimension (median, quartiles)", fontsize=8)
    middles = [float(np.median(part)) for part in parts]
    told = "Local dimension of the images"
    if len(parts) > 1:
        told = (
            f"Local dimension is highest for images of {labels[int(np.argmax(middles))]}, lowest for those of"
            f" {labels[int(np.argmin(middles))]}"
        )
    return Plot(told, svg_of(figure, f"Local intrinsic dimension by class. {told}."))


LINES = (("n_images", "images"), ("d_data", "dimension"), ("error", "error of the classifier, %"), ("alerts", "alerts"))


def history(drawn: Drawn) -> Plot | None:
    """Main numbers over the audits of this dataset."""
    runs = drawn.history
    if len(runs) < 2:
        return None
    lines = [(key, name, [run.get(key) for run in runs]) for key, name in LINES]
    lines = [line for line in lines if sum(value is not None for value in line[2]) > 1]
    if not lines:
        return None
    from matplotlib.figure import Figure

    height = 0.4 + 0.8 * len(lines)
    figure = Figure(figsize=(5.2, height))
    for place, (key, name, values) in enumerate(lines):
        bottom = 0.35 + 0.8 * (len(lines) - 1 - place)
        axes = figure.add_axes((2.3 / 5.2, bottom / height, 2.75 / 5.2, 0.6 / height))
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=7, colors=INK)
        times = 100 if key == "error" else 1
        numbers = [math.nan if value is None else times * float(value) for value in values]
        axes.plot(range(len(runs)), numbers, "-", color=BLUE, linewidth=1)
        for at, (value, run) in enumerate(zip(numbers, runs, strict=True)):
            if math.isfinite(value):
                (point,) = axes.plot([at], [value], "o", color=BLUE, markersize=4)
                tip(point, f"{str(run.get('created', ''))[:10]}: {name} {number(value)}")
        axes.set_ylabel(name, fontsize=8, rotation=0, ha="right", va="center", labelpad=28)
        axes.yaxis.set_label_coords(-0.16, 0.5)
        last = place == len(lines) - 1
        shown = [0, len(runs) - 1] if last else []
        ticks = axes.set_xticks(shown, [_when(runs, at) for at in shown], fontsize=7)
        for tick, side in zip(ticks, ("left", "right"), strict=False):
            tick.label1.set_horizontalalignment(side)
        axes.margins(x=0.03, y=0.25)
        whole = key in ("n_images", "alerts")
        if whole and len(set(numbers)) == 1:
            axes.set_yticks([numbers[0]])
        else:
            axes.locator_params(axis="y", nbins=2, integer=whole)
        powers(axes.yaxis)
    told = f"{len(runs)} audits of this dataset: {_course(lines)}"
    return Plot(told, svg_of(figure, f"History: {told}."))


def _when(runs: Sequence[Mapping[str, Any]], at: int) -> str:
    """Date of a run, with time if all runs are on one day."""
    days = {str(run.get("created", ""))[:10] for run in runs}
    return str(runs[at].get("created", ""))[:16].replace("T", " ") if len(days) == 1 else str(runs[at]["created"])[:10]


def _course(lines: Sequence[tuple[str, str, list[Any]]]) -> str:
    """'images 500 to 600, error of the classifier 19 % to 17 %': numbers that differ between first and last run."""
    out = []
    for key, name, values in lines:
        first, *_, last = [value for value in values if value is not None]
        shown = percent if key == "error" else number
        if shown(first) != shown(last):
            out.append(f"{name.removesuffix(', %')} {shown(first)} to {shown(last)}")
    return ", ".join(out) or "no difference between first and last"


PLOTS: tuple[Callable[[Drawn], Plot | None], ...] = (
    learning_curve,
    confusion,
    region_map,
    distance_histogram,
    class_sharpness,
    class_counts,
    local_dimensions,
    history,
)
# shown on click: comparison of estimators
ESTIMATES: tuple[Callable[[Drawn], Plot | None], ...] = (dimension_estimates, dimension_against_n, sharpness_histogram)


DRAWN_FROM = ("images", "properties", "predictions")  # tables used by plots
# plots that can be drawn before the reference classifier is trained
MEASURED = (class_sharpness, class_counts, local_dimensions, *ESTIMATES)


class Drawing(NamedTuple):
    """Plots being drawn: jobs for `MEASURED`, if submitted earlier, and for the rest."""

    measured: helper.Job | None
    rest: helper.Job

    def result(self) -> tuple[list[Plot], list[Plot]]:
        """Wait for the plots; returns those of `PLOTS` and of `ESTIMATES` that the tables allow."""
        found = self.rest.result() | (self.measured.result() if self.measured else {})
        return in_order(found, PLOTS), in_order(found, ESTIMATES)


def prepare() -> None:
    """Warm up matplotlib: the first plot takes three times as long as later ones."""
    figure, axes = new_figure()
    add_box(axes, 0, 0, 1, 1, "", color=BLUE)
    svg_of(figure, "")


def measured_plots(drawn: Drawn) -> dict[str, Plot]:
    """`MEASURED` by name, as far as the tables allow; uses only ``labels`` and ``label_sharpness`` of the summary."""
    return _by_name(drawn, MEASURED)


def other_plots(drawn: Drawn) -> dict[str, Plot]:
    """All plots except `MEASURED`, by name."""
    return _by_name(drawn, [draw for draw in (*PLOTS, *ESTIMATES) if draw not in MEASURED])


def every_plot(drawn: Drawn) -> dict[str, Plot]:
    """All plots by name, as far as the tables allow."""
    return _by_name(drawn, (*PLOTS, *ESTIMATES))


def in_order(found: Mapping[str, Plot], which: Sequence[Callable[[Drawn], Plot | None]]) -> list[Plot]:
    """The plots of `which` that exist, in order."""
    return [found[draw.__name__] for draw in which if draw.__name__ in found]


def _by_name(drawn: Drawn, which: Sequence[Callable[[Drawn], Plot | None]]) -> dict[str, Plot]:
    return {draw.__name__: plot for draw in which if (plot := draw(drawn)) is not None}
