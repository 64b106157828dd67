"""Result folders as an audit leaves them, as far as history and prune look at them, without an audit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from dataprops.store.tables import write_table


def images_table(contents: list[str], labels: list[str], pixels: list[str] | None = None) -> pd.DataFrame:
    """One image for each content, at a path of that name."""
    return pd.DataFrame(
        {
            "image": np.arange(len(contents)),
            "path": [f"{name}.png" for name in contents],
            "label": pd.Series(labels, dtype=object),
            "content": pd.Series(contents, dtype=object),
            "pixels": pd.Series(pixels or contents, dtype=object),
        }
    )


def write_result(
    store: Path,
    run_id: str,
    images: pd.DataFrame,
    *,
    dataset: str = "scans",
    d: float = 20.0,
    se: float = 0.1,
    k_f: float = 5e-4,
    k_std: float = 4e-5,
    size: int = 224,
    penalty: float | None = None,
    findings: list[tuple] = (),
    at_500: tuple[float, float] | None = None,
) -> Path:
    """Write a finished run; `findings` are (kind, images, paths, detail)."""
    folder = store / "results" / dataset / run_id
    created = f"{run_id[:4]}-{run_id[4:6]}-{run_id[6:8]}T00:00:00+00:00"
    n = len(images)
    prediction = {"name": "attack_penalty", "value": penalty, "withheld": None, "calibration": "konz2024"}
    summary = {
        "dataset": dataset,
        "run_id": run_id,
        "created": created,
        "reason": "test",
        "n_images": n,
        "n_unreadable": 0,
        "k": 20,
        "labels": {"kind": "classes", "classes": images["label"].value_counts().to_dict()},
        "preprocess": {"size": size, "channels": 1, "range": [0, 255], "scale": "per-image-max", "window": "auto"},
        "intrinsic_dimension": {"mle": {"value": d, "se": se}},
        "label_sharpness": {"sample": {"mean": k_f, "std": k_std, "m": 100, "draws": 20}},
        "findings": {"exact_duplicates": 0, "label_conflicts": 0},
        "predictions": [prediction] if penalty is not None else [],
        "alerts": [],
    }
    write_table(folder / "images.parquet", images)
    at = [("intrinsic_dimension.mle@500", *at_500)] if at_500 else []
    rows = pd.DataFrame([("intrinsic_dimension.mle", d, se), *at], columns=["property", "value", "se"])
    write_table(folder / "properties.parquet", rows)
    write_table(folder / "findings.parquet", pd.DataFrame(findings, columns=["kind", "images", "paths", "detail"]))
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder
