"""Changes between two audits of a dataset: images, properties (`property_changes`), findings (`opened`).

Reads both result folders; no image is decoded or compared again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dataprops.audit.matched import COLUMNS, Matched, match
from dataprops.audit.opened import brought, opened_closed
from dataprops.audit.property_changes import (
    SAME_FILES,
    Change,
    class_changes,
    copies_change,
    dimension_change,
    recorded_prediction,
    sharpness_changes,
)
from dataprops.errors import DatapropsError
from dataprops.findings import FINDINGS
from dataprops.laws.change import loss_change, preprocessing_differs
from dataprops.laws.prediction import Prediction
from dataprops.store.folder import load_summary

ALWAYS = ("sharpest_pairs",)  # every dataset has them: they do not open or close


def compare(folder_a: Path, folder_b: Path, summary_b: dict[str, Any] | None = None) -> dict[str, Any]:
    """Changes from audit A to audit B, as plain values (`dataprops compare --json`).

    Parameters
    ----------
    summary_b : dict, optional
        The summary of B if it is not written yet (a run that is still finishing).

    Raises
    ------
    DatapropsError
        If results cannot be read, or the audits are not comparable; the message says why.
    """
    a, b = summary_of(folder_a), summary_b or summary_of(folder_b)
    reason = preprocessing_differs(a, b)
    if reason:
        raise DatapropsError(
            f"the runs {a['run_id']} and {b['run_id']} are not comparable: {reason}. Choose two runs with the same preprocessing"
            f" (dataprops history {b['dataset']} lists them), or audit again with the earlier options"
        )
    images_a, images_b = (_table(folder, "images", COLUMNS) for folder in (folder_a, folder_b))
    matched = match(images_a, images_b)
    counts = _image_counts(images_a, images_b, matched)
    properties = [_table(folder, "properties", ["property", "value", "se"]) for folder in (folder_a, folder_b)]
    changes, p = _changes((a, b), properties, (images_a, images_b), matched)
    if not (counts["added"] or counts["removed"] or counts["relabelled"]):
        changes = [_of_same_files(change) for change in changes]
    findings_a, findings_b = (
        _table(folder, "findings", ["kind", "images", "paths", "detail"]) for folder in (folder_a, folder_b)
    )
    kinds = [*FINDINGS, *findings_a["kind"], *findings_b["kind"]]
    opened, closed = opened_closed(findings_a, findings_b, matched.partner, kinds)
    return {
        "dataset": b["dataset"] if a["dataset"] == b["dataset"] else f"{a['dataset']}, {b['dataset']}",
        "a": {"run_id": a["run_id"], "created": a["created"], "n_images": a["n_images"]},
        "b": {"run_id": b["run_id"], "created": b["created"], "n_images": b["n_images"]},
        "images": counts,
        "changes": [asdict(change) for change in changes],
        "class_mix_p": p,
        "opened": opened,
        "closed": closed,
        "brought": brought(images_b, findings_b, ~matched.kept_b),
        "took": {kind: found["count"] for kind, found in brought(images_a, findings_a, ~matched.kept_a).items()},
        "drift": [change.name for change in changes if change.significant],
    }


def _image_counts(images_a: pd.DataFrame, images_b: pd.DataFrame, matched: Matched) -> dict[str, int]:
    kept = np.nonzero(matched.kept_b)[0]
    before = images_a["label"].fillna("").to_numpy(object)[matched.partner[kept]]
    after = images_b["label"].fillna("").to_numpy(object)[kept]
    return {
        "kept": len(kept),
        "added": int((~matched.kept_b).sum()),
        "removed": int((~matched.kept_a).sum()),
        "relabelled": int((before != after).sum()),
    }


def _changes(
    audits: tuple[dict[str, Any], dict[str, Any]],
    properties: Sequence[pd.DataFrame],
    images: tuple[pd.DataFrame, pd.DataFrame],
    matched: Matched,
) -> tuple[list[Change], float | None]:
    """All property changes, and the p-value of the test for a homogeneous class mix."""
    a, b = audits
    classes, p = [], None
    if a["labels"]["kind"] == b["labels"]["kind"] == "classes":
        classes, p = class_changes(*images, matched)
    told = recorded_prediction(b, "log_loss_change")
    measured = b.get("previous") == a["run_id"] and told.get("value") is not None
    loss = Prediction(**told) if measured else loss_change(a, b)
    loss_row = Change(
        "log_loss",
        "loss of the reference classifier" if measured else "expected test loss by the paper's law",
        value=loss.value,
        low=loss.low,
        high=loss.high,
        scale="log ratio",
        significant=loss.significant,
        basis=loss.basis,
        withheld=loss.withheld,
    )
    changes = [dimension_change(a, b, properties), *sharpness_changes(a, b), loss_row, *classes]
    return [*changes, copies_change(*images, matched)], p


def _of_same_files(change: Change) -> Change:
    """A change between audits of identical files: exactly 0 if the numbers agree."""
    if change.value is None or abs(change.value) > SAME_FILES:
        return change
    return replace(change, value=0.0, low=0.0, high=0.0, significant=False, basis="the same files with the same labels")


def in_brief(found: Mapping[str, Any]) -> dict[str, Any]:
    """A comparison, shortened for `timeline`."""
    brief: dict[str, Any] = {"drift": found["drift"], "images": found["images"]}
    for name in ("opened", "closed"):
        brief[name] = {kind: part["count"] for kind, part in found[name].items() if kind not in ALWAYS}
    return brief


def summary_of(folder: Path) -> dict[str, Any]:
    try:
        return load_summary(folder)
    except (OSError, json.JSONDecodeError) as error:
        raise DatapropsError(f"the summary in {folder} cannot be read ({error}): choose another run") from error


def _table(folder: Path, name: str, columns: list[str]) -> pd.DataFrame:
    try:
        return pd.read_parquet(folder / f"{name}.parquet", columns=columns)
    except (OSError, ValueError, KeyError) as error:  # Arrow raises ValueErrors
        raise DatapropsError(f"{folder / name}.parquet cannot be read ({error}): choose another run") from error
