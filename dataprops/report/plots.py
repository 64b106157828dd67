"""The plots of the report, as SVG that stands in the page. One colour, one accent; readable in grey print."""

from __future__ import annotations

import hashlib
import io
import math
import re
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dataprops.properties.estimators import ESTIMATORS, title_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREY = "#2b5c8a", "#c8641e", "#6b7280"


def _figure(width: float = 5.2, height: float = 2.7) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8, colors="#374151")
    return figure, axes


def _svg(figure: Figure, alt: str) -> str:
    import matplotlib

    out = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "font.family": "sans-serif", "svg.hashsalt": "dataprops"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # namespaces are names, but an address in the page looks like a resource from elsewhere
    text = re.sub(r'\s+xmlns:xlink="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r'\s+xmlns="[^"]*"', "", text)
    # ids must differ between the plots of one page
    mark = f"p{hashlib.blake2b(alt.encode(), digest_size=4).hexdigest()}-"
    text = re.sub(r'\bid="', f'id="{mark}', text)
    text = re.sub(r'href="#', f'href="#{mark}', text)
    text = text.replace("url(#", f"url(#{mark}")
    label = alt.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return text.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


def distance_histogram(distances: np.ndarray, near: float) -> str | None:
    """Histogram of the distances to the nearest image, with the near-identical threshold."""
    values = distances[np.isfinite(distances) & (distances > 0)]
    if len(values) < 2:
        return None
    figure, axes = _figure()
    axes.hist(values, bins=min(60, max(5, int(math.sqrt(len(values))))), color=BLUE)
    if near > 0:
        axes.axvline(near, color=ORANGE, linewidth=1.5)
        axes.text(near, axes.get_ylim()[1] * 0.97, " near-identical", color=ORANGE, fontsize=8, va="top")
    axes.set_xlabel("distance to the nearest image, grey levels", fontsize=8)
    axes.set_ylabel("images", fontsize=8)
    return _svg(figure, "Histogram of the distance of each image to its nearest image")


def sharpness_histogram(values: np.ndarray, q95: float | None, q99: float | None) -> str | None:
    """Histogram of the sharpness of each image, with its upper quantiles and maximum."""
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return None
    figure, axes = _figure()
    axes.hist(values, bins=min(60, max(5, int(math.sqrt(len(values))))), color=BLUE)
    height = axes.get_ylim()[1]
    marks = (("95 %", q95, 0.97), ("99 %", q99, 0.85), ("max", float(values.max()), 0.73))
    for name, at, level in marks:
        if at is not None:
            axes.axvline(at, color=ORANGE, linewidth=1)
            axes.text(at, height * level, f"{name} ", color=ORANGE, fontsize=8, va="top", ha="right")
    axes.ticklabel_format(axis="x", style="sci", scilimits=(-3, 4), useMathText=True)
    axes.set_xlabel("label sharpness of the image", fontsize=8)
    axes.set_ylabel("images", fontsize=8)
    return _svg(figure, "Histogram of the label sharpness of each image")


def dimension_estimates(properties: pd.DataFrame) -> str | None:
    """The estimates with twice their standard errors."""
    table = properties[properties["property"].isin([f"intrinsic_dimension.{name}" for name in ESTIMATORS])]
    table = table[np.isfinite(table["value"])]
    if table.empty:
        return None
    figure, axes = _figure()
    labels = [title_of(name.split(".", 1)[1], short=True) for name in table["property"]]
    at = np.arange(len(table))[::-1]
    axes.errorbar(table["value"], at, xerr=2 * table["se"].fillna(0.0), fmt="o", color=BLUE, capsize=3, markersize=5)
    axes.set_yticks(at, labels, fontsize=8)
    axes.set_ylim(-0.7, len(table) - 0.3)
    axes.set_xlim(left=0)
    axes.set_xlabel("intrinsic dimension, ± 2 standard errors", fontsize=8)
    return _svg(figure, "Estimates of the intrinsic dimension with error bars")


def dimension_against_n(properties: pd.DataFrame) -> str | None:
    """The maximum-likelihood estimate of random subsets, and of the whole set."""
    subset = properties[properties["property"].str.startswith("intrinsic_dimension.mle@")]
    whole = properties[properties["property"] == "intrinsic_dimension.mle"]
    table = pd.concat([subset.assign(n=subset["m"]), whole])
    table = table[np.isfinite(table["value"])]
    if len(table) < 2:
        return None
    figure, axes = _figure()
    axes.errorbar(table["n"], table["value"], yerr=2 * table["se"].fillna(0.0), fmt="o-", color=BLUE, capsize=3)
    axes.set_xscale("log")
    axes.set_xticks(table["n"], [f"{n:,}" for n in table["n"]], fontsize=8)
    axes.minorticks_off()
    axes.set_xlabel("images", fontsize=8)
    axes.set_ylabel("intrinsic dimension (MLE)", fontsize=8)
    return _svg(figure, "Intrinsic dimension against the number of images")


def class_counts(images: pd.DataFrame, most: int = 25) -> str | None:
    """Images of each class and split."""
    labelled = images[images["label"].notna()]
    if labelled.empty:
        return None
    sizes = labelled["label"].value_counts()
    kept = sizes.index[:most]
    table = (
        labelled[labelled["label"].isin(kept)]
        .assign(split=labelled["split"].fillna("all"))
        .groupby(["label", "split"])
        .size()
        .unstack(fill_value=0)
        .reindex(kept)
    )
    figure, axes = _figure(height=max(1.6, 0.5 + 0.24 * len(kept)))
    at, left = np.arange(len(kept))[::-1], np.zeros(len(kept))
    shades = [BLUE, ORANGE, GREY, "#9cb7d1", "#e3b08c"]
    for i, split in enumerate(table.columns):
        axes.barh(at, table[split], left=left, color=shades[i % len(shades)], height=0.7, label=str(split))
        left += table[split].to_numpy()
    axes.set_yticks(at, [str(name)[:28] for name in kept], fontsize=8)
    if len(table.columns) > 1:
        axes.legend(fontsize=7, frameon=False)
    axes.set_xlabel(
        "images" if len(kept) == len(sizes) else f"images (the {most} largest of {len(sizes)} classes)", fontsize=8
    )
    return _svg(figure, "Images of each class")


def local_dimensions(images: pd.DataFrame, most: int = 6) -> str | None:
    """Box plots of the local dimension by class."""
    values = images[np.isfinite(images["local_dimension"])]
    if len(values) < 2:
        return None
    names = values["label"].value_counts().index[:most] if values["label"].notna().any() else []
    parts = [values.loc[values["label"] == name, "local_dimension"].to_numpy() for name in names] or [
        values["local_dimension"].to_numpy()
    ]
    figure, axes = _figure(height=max(1.6, 0.6 + 0.35 * len(parts)))
    axes.boxplot(
        parts[::-1],
        orientation="horizontal",
        showfliers=False,
        medianprops={"color": ORANGE},
        boxprops={"color": BLUE},
        whiskerprops={"color": BLUE},
        capprops={"color": BLUE},
        widths=0.6,
    )
    labels = [str(name)[:28] for name in names] or ["all images"]
    axes.set_yticks(range(1, len(parts) + 1), labels[::-1], fontsize=8)
    axes.set_xlabel("local intrinsic dimension (median, quartiles)", fontsize=8)
    return _svg(figure, "Local intrinsic dimension by class")
