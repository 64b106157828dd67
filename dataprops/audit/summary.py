"""The summary of an audit: the one object that --json prints, the report shows, and the next audit compares with."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import asdict
from typing import Any

import pandas as pd

from dataprops.audit.config import place_of
from dataprops.audit.workspace import Run
from dataprops.findings import FINDINGS
from dataprops.imaging.ranges import IMAGE
from dataprops.laws.calibrations import Calibration
from dataprops.laws.change import loss_change
from dataprops.laws.forecast import expected_loss, expected_penalty
from dataprops.laws.gain import loss_if_doubled
from dataprops.laws.networks import network_predictions
from dataprops.laws.prediction import Prediction
from dataprops.properties.estimators import ESTIMATORS
from dataprops.store.tables import SCHEMA
from dataprops.util.json import finite, to_json
from dataprops.util.version import package_version

CONFLICTS = 1000  # listed in the summary; all are counted, and listed in findings.parquet

LEFT_OUT = 20  # files that are no images, named in the summary


def base_summary(run: Run, *, properties: pd.DataFrame, images: pd.DataFrame, findings: pd.DataFrame) -> dict[str, Any]:
    """All of the summary that is measured."""
    config, files = run.config, run.files
    scanned, passed, decoded = files.scanned.read(), files.passed.read(), files.decoded.read()
    preprocess = decoded.preprocess
    sharpest, anchors, kind = files.sharpest_pairs(), passed.anchors, scanned.label_kind
    features, left_out = passed.features, scanned.left_out
    measures = files.measures.read()
    near_rms = measures.get("near_rms", config.near_rms or 0.0)
    by_name = properties.set_index("property")
    path = images["path"].to_numpy(object)

    def estimate(name: str) -> dict[str, Any] | None:
        key = f"intrinsic_dimension.{name}"
        if key not in by_name.index:
            return None
        row = by_name.loc[key]
        return {"value": finite(row["value"]), "se": finite(row["se"]), "interval": interval(row)}

    def interval(row: pd.Series) -> list[float | None]:
        return [finite(row["low"]), finite(row["high"])]

    def sharpness(name: str) -> float | None:
        return finite(by_name.at[f"label_sharpness.{name}", "value"])

    sample = by_name.loc["label_sharpness.sample"]
    top = None
    if len(sharpest):
        a, b = int(sharpest["a"].iloc[0]), int(sharpest["b"].iloc[0])
        top = {"a": path[a], "b": path[b], "distance": float(sharpest["distance"].iloc[0])}
    conflicts = findings.loc[findings["kind"] == "label_conflicts", "paths"].head(CONFLICTS)
    counts = findings["kind"].value_counts()
    classes = images.loc[images["label"].notna(), "label"].value_counts().sort_index()
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
            "count": len(left_out),
            "by_reason": dict(Counter(reason for _, reason in left_out).most_common()),
            "files": [name for name, _ in left_out[:LEFT_OUT]],
        },
        "decisions": [*scanned.decisions, *decoded.decisions],
        "labels": {"kind": kind, "classes": {str(k): int(v) for k, v in classes.items()} if kind == "classes" else {}},
        "preprocess": {
            "size": preprocess.size,
            "channels": preprocess.channels,
            "range": [0, 255],
            "scale": config.scale,
            "window": preprocess.window,
            **({} if preprocess.range == IMAGE else {"values": preprocess.range}),
        },
        "features": features,
        "k": config.k,
        "seed": config.seed,
        # None: all pairs were compared; else a random sample was, with all, and every number is an estimate
        "sampled": None if anchors is None else {"anchors": anchors, "of": int(images["pixels"].nunique())},
        "near_rms": near_rms,
        "near_distance": near_rms * math.sqrt(features),
        "intrinsic_dimension": {name: e for name in ESTIMATORS if (e := estimate(name)) is not None},
        # as if of each group of near-copies one image were there; None: there are none, or too few images without them
        "without_near_copies": {name: measures[f"without_copies_{name}"] for name in ("mle", "twonn", "k")}
        if "without_copies_mle" in measures
        else None,
        "label_sharpness": {
            "all_pairs": sharpness("all_pairs"),
            "at_least": finite(by_name.at["label_sharpness.all_pairs", "low"]),
            "sample": {
                "mean": finite(sample["value"]),
                "std": finite(sample["se"]),
                "m": int(sample["m"]),
                "draws": config.draws,
            },
            "samples": {
                str(int(row.m)): {"mean": finite(row.value), "std": finite(row.se), "draws": config.draws}
                for row in properties.itertuples()
                if re.fullmatch(r"label_sharpness\.(sample|m\d+)", row.property)
            },
            "q50": sharpness("q50"),
            "q95": sharpness("q95"),
            "q99": sharpness("q99"),
            "intervals": {
                name: interval(by_name.loc[f"label_sharpness.{name}"]) for name in ("sample", "q50", "q95", "q99")
            },
            "sharpest_pair": top,
        },
        **files.probed.read(),
        "findings": {name: int(counts.get(name, 0)) for name in FINDINGS},
        "conflicts": [[str(p) for p in pair] for pair in conflicts],
        "results": str(run.results),
        "report": str(run.results / "report.html"),
    }


def predict(
    summary: dict[str, Any],
    previous: dict[str, Any] | None,
    images: pd.DataFrame,
    calibration: Calibration | None = None,
) -> list[Prediction]:
    """What the laws say of the measured set: by the store's calibration where it holds, else by the paper's table."""
    peaks = images.loc[images["pixels"].notna(), "peak"].to_numpy()
    probe, withheld = summary.get("probe"), summary.get("probe_withheld")
    networks = network_predictions(probe, withheld)
    if calibration is not None:
        own = expected_loss(summary, peaks, calibration)
        # the store's calibration speaks first where it has a number
        networks = networks if own.withheld and networks[0].withheld is None else [own, *networks[1:]]
    return [
        loss_change(previous, summary),
        expected_penalty(summary, peaks, calibration),
        *networks,
        loss_if_doubled(probe, withheld),
    ]


def property_measures(summary: dict[str, Any], predictions: list[Prediction]) -> dict[str, float]:
    """The measured and predicted numbers that checks look at; absent where there is none."""
    out: dict[str, float] = {}
    mle = summary["intrinsic_dimension"].get("mle")
    if mle and mle["value"]:
        out["dimension"] = mle["value"]
        if mle["se"] is not None:
            out["dimension_relative_se"] = mle["se"] / mle["value"]
    if summary["label_sharpness"]["sample"]["mean"] is not None:
        out["sharpness_sample"] = summary["label_sharpness"]["sample"]["mean"]
    names = {"log_loss_change": "predicted_log_loss_change", "attack_penalty": "predicted_penalty"}
    for prediction in predictions:
        if prediction.withheld is None and prediction.name in names:
            out[names[prediction.name]] = prediction.value or 0.0
            out[f"{names[prediction.name]}_low"] = prediction.low or 0.0
    return out


def run_table(run: Run, summary: dict[str, Any]) -> pd.DataFrame:
    """One row that describes the run."""
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
                "summary": to_json(summary),
            }
        ]
    )
