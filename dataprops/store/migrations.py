"""In-place migrations of stores with earlier schemas.

Steps are idempotent and write files atomically, so they can be killed and repeated at any point.

    1 -> 2   `label_sharpness.m1000` renamed to `sample` (its M need not be 1,000); in a summary's alerts, `images` are ids, as in
             alerts.parquet, and `paths` are paths
    2 -> 3   `unit` renamed to `leak_group` (probe.parquet, feature_images.parquet), and the summary's `probe.n_units` to
             `n_leak_groups`
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dataprops.util.files import write_text
from dataprops.util.json import to_json

log = logging.getLogger(__name__)


def current_summary(summary: Mapping[str, Any], ids: Mapping[str, list[int]] | None = None) -> dict[str, Any]:
    """Convert a summary of any schema to the current one.

    Parameters
    ----------
    ids : mapping, optional
        Alert name -> ids of its images, from alerts.parquet; without it, alerts of schema 1 get none.
    """
    out = dict(summary)
    sharp = out.get("label_sharpness")
    if isinstance(sharp, dict) and "m1000" in sharp:
        out["label_sharpness"] = {_new(name): value for name, value in sharp.items()}
        intervals = sharp.get("intervals")
        if isinstance(intervals, dict):
            out["label_sharpness"]["intervals"] = {_new(name): value for name, value in intervals.items()}
    out["alerts"] = [_current_alert(alert, ids or {}) for alert in out.get("alerts", [])]
    out |= _current_probe(out)
    if isinstance(out.get("feature_space"), dict):
        out["feature_space"] = out["feature_space"] | _current_probe(out["feature_space"])
    return out


def _current_probe(holder: Mapping[str, Any]) -> dict[str, Any]:
    """The renamed `probe` entry of a mapping; empty if nothing changes."""
    probe = holder.get("probe")
    if not isinstance(probe, dict) or "n_units" not in probe:
        return {}
    return {"probe": {"n_leak_groups" if name == "n_units" else name: value for name, value in probe.items()}}


def _new(name: str) -> str:
    return "sample" if name == "m1000" else name


def _current_alert(alert: Mapping[str, Any], ids: Mapping[str, list[int]]) -> dict[str, Any]:
    images = alert.get("images") or []
    if not any(isinstance(image, str) for image in images):
        return dict(alert)
    return {**alert, "images": ids.get(alert["name"], []), "paths": alert.get("paths") or images}


def _runs(store: Path, schema: int) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Folder and summary of each run with this schema."""
    for folder in sorted(path.parent for path in (store / "results").glob("*/*/summary.json")):
        try:
            summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            log.warning("the summary of %s cannot be read (%s): the run is not migrated", folder, error)
            continue
        if summary.get("schema") == schema:
            yield folder, summary


def _rewrite_summary(folder: Path, summary: Mapping[str, Any], schema: int) -> None:
    """Write a run's summary with its new schema; written last, it marks the run as migrated."""
    import pandas as pd

    from dataprops.store.tables import write_table

    current, table = to_json({**summary, "schema": schema}), folder / "run.parquet"
    if table.is_file():
        write_table(table, pd.read_parquet(table).assign(schema=schema, summary=current))
    write_text(folder / "summary.json", current)


def _from_1(store: Path) -> None:
    import pandas as pd

    from dataprops.store.tables import write_table

    for folder, summary in _runs(store, 1):
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
        _rewrite_summary(folder, current_summary(summary, ids), 2)


def _from_2(store: Path) -> None:
    import pandas as pd

    from dataprops.store.tables import write_table

    for folder, summary in _runs(store, 2):
        for name in ("probe", "feature_images"):
            file = folder / f"{name}.parquet"
            if file.is_file():
                write_table(file, pd.read_parquet(file).rename(columns={"unit": "leak_group"}))
        _rewrite_summary(folder, current_summary(summary), 3)


# schema -> function that migrates a store folder to the next schema
MIGRATIONS: dict[int, Callable[[Path], None]] = {1: _from_1, 2: _from_2}
