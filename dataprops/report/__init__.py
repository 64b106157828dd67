"""The report: one self-contained HTML page, a short markdown for the Prefect UI, and a summary for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd

from dataprops.findings import FINDINGS
from dataprops.report import plots
from dataprops.report.figures import placed_figures
from dataprops.report.markdown import markdown_summary
from dataprops.report.numbers import how_compared, largest_sharpness, number, percent, plus_minus
from dataprops.report.pictures import data_uri

__all__ = ["markdown_summary", "render"]

Picture = Callable[[int], np.ndarray | None]

PAIRS_SHOWN, GROUPS_SHOWN, IMAGES_SHOWN, LINES_SHOWN = 12, 12, 24, 200
GROUP_PICTURES, ALERT_PICTURES = 8, 6
LEAST_IMAGES = {"pairs": 2, "groups": 0, "images": 1, "text": 0}  # of each row, to be shown like this
WORDS = {
    "critical": "Do not train on this set as it is",
    "warning": "Look at the warnings first",
    "info": "Nothing serious",
}
PREDICTION_NAMES = {
    "log_loss_change": "Change of the test loss since the previous audit",
    "attack_penalty": "Loss under attack",
    "test_loss": "Test loss",
    "loss_if_doubled": "Gain from more images",
}


class _Album:
    """Pictures of the page, each encoded once however often it is shown."""

    def __init__(self, picture: Picture, images: pd.DataFrame):
        self._picture, self._uris = picture, {}
        self._path, self._label = images["path"].to_numpy(object), images["label"].to_numpy(object)

    def item(self, image: int, note: str = "") -> dict[str, Any]:
        image = int(image)
        if image not in self._uris:
            pixels = self._picture(image)
            self._uris[image] = None if pixels is None else data_uri(pixels)
        label = self._label[image]
        return {
            "uri": self._uris[image],
            "path": self._path[image],
            "label": "" if label is None else label,
            "note": note,
        }


def _verdict(summary: dict[str, Any]) -> dict[str, str]:
    alerts = summary["alerts"]
    if not alerts:
        return {"severity": "good", "sentence": "No alert. Every check that applies to this set passed."}
    first = alerts[0]
    others = f" And {len(alerts) - 1} more alert{'s' if len(alerts) > 2 else ''}." if len(alerts) > 1 else ""
    return {"severity": first["severity"], "sentence": f"{WORDS[first['severity']]}: {first['sentence']}{others}"}


def _keys(summary: dict[str, Any]) -> list[dict[str, str]]:
    s = summary
    classes = s["labels"]["classes"]
    mle = s["intrinsic_dimension"].get("mle") or {"value": None, "se": None}
    sharp, sample = s["label_sharpness"], s["label_sharpness"]["sample"]
    kinds = {"classes": f"{len(classes)} classes", "numbers": "numeric labels", "none": "no labels"}
    shape = f"{s['preprocess']['size']} × {s['preprocess']['size']} × {s['preprocess']['channels']}"
    rows = [
        ("Images", f"{s['n_images']:,}", f"{s['n_unreadable']:,} unreadable; {kinds[s['labels']['kind']]}"),
        ("Compared at", shape, "values compare only at one size and channel count"),
        ("Intrinsic dimension", plus_minus(mle["value"], mle["se"]), f"maximum likelihood, k = {s['k']}"),
        ("Label sharpness, all pairs", largest_sharpness(s), "1 / grey level, the largest of this set"),
        (
            f"Label sharpness, M = {sample['m']:,}",
            plus_minus(sample["mean"], sample["std"]),
            f"mean and spread of {sample['draws']} samples",
        ),
        ("Sharpness quantiles", number(sharp["q95"]), f"95 % of the images; 99 %: {number(sharp['q99'])}"),
    ]
    return [{"name": name, "value": value, "note": note} for name, value, note in rows]


def _section(kind: str, found: pd.DataFrame, album: _Album, features: int, count: int) -> dict[str, Any]:
    row = FINDINGS[kind]
    section: dict[str, Any] = {
        "title": row.title,
        "explanation": row.explanation,
        "count": count,
        "what": "pairs"
        if row.shown == "pairs"
        else "groups"
        if row.shown == "groups" and kind != "small_class"
        else "findings",
        "pairs": [],
        "groups": [],
        "lines": [],
    }
    shown = row.shown if found["images"].map(len).min() >= LEAST_IMAGES[row.shown] else "text"
    records = found[["images", "detail", "value"]].itertuples(index=False)
    if shown == "pairs":
        for images, detail, value in list(records)[:PAIRS_SHOWN]:
            text = detail
            if kind == "sharpest_pairs" and value > 0:
                rms = 1 / value / np.sqrt(features)
                text = f"Sharpness {number(value)}. RMS difference {number(rms)} grey levels (for labels one apart)."
            section["pairs"].append({"a": album.item(images[0]), "b": album.item(images[1]), "text": text})
        section["shown"] = len(section["pairs"])
        section["lines"] = found["detail"].iloc[PAIRS_SHOWN:LINES_SHOWN].tolist()
        section["shown"] += len(section["lines"])
    elif shown == "groups":
        for images, detail, _ in list(records)[:GROUPS_SHOWN]:
            section["groups"].append({"text": detail, "pictures": [album.item(i) for i in images[:GROUP_PICTURES]]})
        section["lines"] = found["detail"].iloc[GROUPS_SHOWN:LINES_SHOWN].tolist()
        section["shown"] = len(section["groups"]) + len(section["lines"])
    elif shown == "images":
        some = found.head(IMAGES_SHOWN)
        notes = [f"{number(v, 2)} × typical" if kind == "outliers" else "" for v in some["value"]]
        items = [album.item(images[0], note) for images, note in zip(some["images"], notes, strict=True)]
        section["groups"] = [{"text": "", "pictures": items}]
        section["shown"] = len(items)
    else:
        section["lines"] = found["detail"].iloc[:LINES_SHOWN].tolist()
        section["shown"] = len(section["lines"])
    return section


def _outcome(success: Any) -> str:
    return "skipped" if success is None or pd.isna(success) else "passed" if success else "failed"


def render(
    summary: dict[str, Any],
    tables: Mapping[str, pd.DataFrame],
    picture: Picture,
    points: pd.DataFrame | None = None,
) -> str:
    """The report of an audit as one HTML document that needs nothing else.

    Parameters
    ----------
    summary : dict
        What --json prints.
    tables : mapping
        images, findings, properties, alerts, checks, shortcuts.
    picture : callable
        Image id -> canonical uint8 [size, size, channels], or None.
    points : DataFrame, optional
        The table of trained networks that predictions rest on: the set is shown among its datasets.
    """
    from jinja2 import Environment, select_autoescape
    from markupsafe import Markup

    images, findings, properties = tables["images"], tables["findings"], tables["properties"]
    album = _Album(picture, images)
    features = summary["features"]
    sharp = summary["label_sharpness"]
    drawn = [
        plots.dimension_estimates(properties),
        plots.dimension_against_n(properties),
        plots.sharpness_histogram(images["sharpness"].to_numpy(float), sharp["q95"], sharp["q99"]),
        plots.distance_histogram(images["neighbour_distance"].to_numpy(float), summary["near_distance"]),
        plots.class_counts(images) if summary["labels"]["kind"] == "classes" else None,
        plots.local_dimensions(images),
    ]
    sections = [
        _section(kind, part, album, features, len(part))
        for kind in FINDINGS
        if len(part := findings[findings["kind"] == kind])
    ]
    alerts = [
        {**row, "pictures": [album.item(i) for i in row["images"][:ALERT_PICTURES]]}
        for row in tables["alerts"].to_dict("records")
    ]
    checks = [{**row, "outcome": _outcome(row["success"])} for row in tables["checks"].to_dict("records")]
    environment = Environment(autoescape=select_autoescape(default=True), trim_blocks=True)
    environment.filters.update(number=number, percent=percent)
    folder = files("dataprops") / "report"
    template = environment.from_string((folder / "page.html.jinja").read_text(encoding="utf-8"))
    return template.render(
        s=summary,
        css=Markup((folder / "style.css").read_text(encoding="utf-8")),
        verdict=_verdict(summary),
        keys=_keys(summary),
        how_compared=how_compared(summary),
        alerts=alerts,
        plots=[Markup(plot) for plot in drawn if plot],
        placed=[Markup(plot) for plot in placed_figures(points, summary)],
        properties=properties.to_dict("records"),
        sections=sections,
        shortcuts=tables["shortcuts"].to_dict("records"),
        checks=checks,
        prediction_names=PREDICTION_NAMES,
    )
