"""Stores of earlier schemas become those of this one, in place.

A step may be killed and run again at any point: it leaves alone what it has done already, and writes each file aside first.

    1 -> 2   `label_sharpness.m1000` is named `sample` (its M need not be 1,000); in a summary's alerts `images` are ids, as in
             alerts.parquet, and `paths` paths
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dataprops.util.files import write_text
from dataprops.util.json import to_json

log = logging.getLogger(__name__)


def current_summary(summary: Mapping[str, Any], ids: Mapping[str, list[int]] | None = None) -> dict[str, Any]:
    """A summary of any schema as one of this schema.

    Parameters
    ----------
    ids : mapping, optional
        Name of an alert -> ids of its images, from alerts.parquet; without it alerts of the first schema get none.
    """
    out = dict(summary)
    sharp = out.get("label_sharpness")
    if isinstance(sharp, dict) and "m1000" in sharp:
        out["label_sharpness"] = {_new(name): value for name, value in sharp.items()}
        intervals = sharp.get("intervals")
        if isinstance(intervals, dict):
            out["label_sharpness"]["intervals"] = {_new(name): value for name, value in intervals.items()}
    out["alerts"] = [_current_alert(alert, ids or {}) for alert in out.get("alerts", [])]
    return out


def _new(name: str) -> str:
    return "sample" if name == "m1000" else name


def _current_alert(alert: Mapping[str, Any], ids: Mapping[str, list[int]]) -> dict[str, Any]:
    images = alert.get("images") or []
    if not any(isinstance(image, str) for image in images):
        return dict(alert)
    return {**alert, "images": ids.get(alert["name"], []), "paths": alert.get("paths") or images}


def _from_1(store: Path) -> None:
    import pandas as pd

    from dataprops.store.tables import write_table

    for folder in sorted(path.parent for path in (store / "results").glob("*/*/summary.json")):
        try:
            summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            log.warning("the summary of %s cannot be read (%s): the run stays as it is", folder, error)
            continue
        if summary.get("schema") != 1:
            continue
        properties = folder / "properties.parquet"
        if properties.is_file():
            table = pd.read_parquet(properties)
            name = table["property"].replace("label_sharpness.m1000", "label_sharpness.sample")
            write_table(properties, table.assign(property=name))
        ids: dict[str, list[int]] = {}
        if (folder / "alerts.parquet").is_file():
            alerts = pd.read_parquet(folder / "alerts.parquet")
            named = zip(alerts["name"], alerts["images"], strict=True)
            ids = {name: [int(image) for image in images] for name, images in named}
        current = to_json(current_summary(summary, ids) | {"schema": 2})
        if (folder / "run.parquet").is_file():
            write_table(
                folder / "run.parquet", pd.read_parquet(folder / "run.parquet").assign(schema=2, summary=current)
            )
        write_text(folder / "summary.json", current)  # last: it says that the run is done


# schema -> a function of the store's folder that makes the next schema of it
MIGRATIONS: dict[int, Callable[[Path], None]] = {1: _from_1}
