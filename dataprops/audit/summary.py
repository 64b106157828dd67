"""The summary of an audit: printed by --json, shown in the report, compared with by the next audit."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from dataprops.audit.config import place_of
from dataprops.audit.workspace import Run
from dataprops.findings import FINDINGS
from dataprops.findings.pixel_shortcut import region_map
from dataprops.imaging.decode import Preprocess
from dataprops.imaging.ranges import IMAGE
from dataprops.properties.estimators import ESTIMATORS
from dataprops.store.tables import SCHEMA
from dataprops.util.json import finite, to_json
from dataprops.util.version import package_version

CONFLICTS = 1000  # listed in the summary; all are in findings.parquet

LEFT_OUT = 20  # files left out that are listed in the summary


def base_summary(run: Run, *, properties: pd.DataFrame, images: pd.DataFrame, findings: pd.DataFrame) -> dict[str, Any]:
    """The measured part of the summary."""
    config, files = run.config, run.files
    scanned, passed, decoded = files.scanned.read(), files.passed.read(), files.decoded.read()
    measures = files.measures.read()
    near_rms = measures.get("near_rms", config.near_rms or 0.0)
    conflicts = findings.loc[findings["kind"] == "label_conflicts", "paths"].head(CONFLICTS)
    counts = findings["kind"].value_counts()
    return {
        "dataset": config.dataset,
        "run_id": run.run_id,
        "created": run.created,
        "reason": config.reason,
        "version": package_version(),
        "schema": SCHEMA,
        "source": config.source,
        "place": place_of(config.source),
        "n_images": len(images),
        "n_unreadable": int(images["pixels"].isna().sum()),
        "left_out": {
            "count": len(scanned.left_out),
            "by_reason": dict(Counter(reason for _, reason in scanned.left_out).most_common()),
            "files": [name for name, _ in scanned.left_out[:LEFT_OUT]],
        },
        "decisions": [*scanned.decisions, *decoded.decisions],
        "labels": labels_record(scanned.label_kind, images),
        "preprocess": preprocess_record(run, decoded.preprocess),
        "features": passed.features,
        "k": config.k,
        "seed": config.seed,
        # None: all pairs were compared; otherwise a random sample with all images, and every number is an estimate
        "sampled": None
        if passed.anchors is None
        else {"anchors": passed.anchors, "of": int(images["pixels"].nunique())},
        "near_rms": near_rms,
        "near_distance": near_rms * math.sqrt(passed.features),
        "intrinsic_dimension": _dimensions(properties),
        # with one image per group of near-copies; None: no near-copies, or too few images without them
        "without_near_copies": {name: measures[f"without_copies_{name}"] for name in ("mle", "twonn", "k")}
        if "without_copies_mle" in measures
        else None,
        # for each cell of an 8 x 8 grid, how well it alone predicts the class, and the fraction of a class with a mark in it
        "pixel_regions": region_map(measures),
        "label_sharpness": {
            **sharpness_record(properties, config.draws),
            "sharpest_pair": _sharpest(files.sharpest_pairs(), images["path"].to_numpy(object)),
        },
        **files.probed.read(),
        "findings": {name: int(counts.get(name, 0)) for name in FINDINGS},
        "conflicts": [[str(p) for p in pair] for pair in conflicts],
        "results": str(run.results),
        "report": str(run.results / "report.html"),
    }


def labels_record(kind: str, images: pd.DataFrame) -> dict[str, Any]:
    """Label type, and the number of images per class."""
    classes = images.loc[images["label"].notna(), "label"].value_counts().sort_index()
    return {"kind": kind, "classes": {str(k): int(v) for k, v in classes.items()} if kind == "classes" else {}}


def preprocess_record(run: Run, preprocess: Preprocess) -> dict[str, Any]:
    """The preprocessing, for the summary."""
    return {
        "size": preprocess.size,
        "channels": preprocess.channels,
        "range": [0, 255],
        "scale": run.config.scale,
        "window": preprocess.window,
        **({} if preprocess.range == IMAGE else {"values": preprocess.range}),
    }


def _interval(row: Any) -> list[float | None]:
    return [finite(row["low"]), finite(row["high"])]


def _dimensions(properties: pd.DataFrame) -> dict[str, Any]:
    """Estimator -> value, standard error, interval."""
    rows = properties.set_index("property")
    found = {name: f"intrinsic_dimension.{name}" for name in ESTIMATORS}
    return {
        name: {
            "value": finite(rows.at[key, "value"]),
            "se": finite(rows.at[key, "se"]),
            "interval": _interval(rows.loc[key]),
        }
        for name, key in found.items()
        if key in rows.index
    }


def sharpness_record(properties: pd.DataFrame, draws: int) -> dict[str, Any]:
    """Label sharpness over all pairs and in samples, and its quantiles over images."""
    rows = properties.set_index("property")
    sample: Any = rows.loc["label_sharpness.sample"]

    def value(name: str) -> float | None:
        return finite(rows.at[f"label_sharpness.{name}", "value"])

    return {
        "all_pairs": value("all_pairs"),
        "at_least": finite(rows.at["label_sharpness.all_pairs", "low"]),
        "sample": {
            "mean": finite(sample["value"]),
            "std": finite(sample["se"]),
            "m": int(sample["m"]),
            "draws": draws,
        },
        "samples": {
            str(int(m)): {"mean": finite(mean), "std": finite(std), "draws": draws}
            for key, m, mean, std in properties[["property", "m", "value", "se"]].itertuples(index=False)
            if re.fullmatch(r"label_sharpness\.(sample|m\d+)", key)
        },
        "q50": value("q50"),
        "q95": value("q95"),
        "q99": value("q99"),
        # why it is missing, or that identical pictures with different labels are excluded
        "note": str(rows.at["label_sharpness.all_pairs", "note"] or ""),
        "intervals": {name: _interval(rows.loc[f"label_sharpness.{name}"]) for name in ("sample", "q50", "q95", "q99")},
    }


def _sharpest(pairs: pd.DataFrame, path: np.ndarray) -> dict[str, Any] | None:
    """Paths and distance of the sharpest pair."""
    if not len(pairs):
        return None
    first = pairs.iloc[0]
    return {"a": path[int(first["a"])], "b": path[int(first["b"])], "distance": float(first["distance"])}


def property_measures(summary: dict[str, Any]) -> dict[str, float]:
    """Properties used by checks; missing ones are absent."""
    out: dict[str, float] = {}
    mle = summary["intrinsic_dimension"].get("mle")
    if mle and mle["value"]:
        out["dimension"] = mle["value"]
        if mle["se"] is not None:
            out["dimension_relative_se"] = mle["se"] / mle["value"]
    if summary["label_sharpness"]["sample"]["mean"] is not None:
        out["sharpness_sample"] = summary["label_sharpness"]["sample"]["mean"]
    if summary.get("risk"):
        out["easier_to_attack_share"] = summary["risk"]["share"]
    return out


def run_table(run: Run, summary: dict[str, Any]) -> pd.DataFrame:
    """The table `run`: one row with the run's metadata."""
    return pd.DataFrame(
        [
            {
                "dataset": summary["dataset"],
                "run_id": run.run_id,
                "created": run.created,
                "schema": SCHEMA,
                "version": summary["version"],
                "source": summary["source"],
                "n_images": summary["n_images"],
                "n_unreadable": summary["n_unreadable"],
                "label_kind": summary["labels"]["kind"],
                "size": summary["preprocess"]["size"],
                "channels": summary["preprocess"]["channels"],
                "scale": summary["preprocess"]["scale"],
                "previous": summary["previous"],
                "options": json.dumps(asdict(run.config)),
                "summary": to_json(summary, indent=None),
            }
        ]
    )
