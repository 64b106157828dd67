"""Properties in the user's feature space (``--features``, ``--model``): the same measures as for pixels, under separate names."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dataprops.audit.config import AuditConfig
from dataprops.audit.pictures import Pictures
from dataprops.audit.probed import codes_of, grouped_by
from dataprops.audit.stages.distances import estimators_of
from dataprops.audit.workspace import Run
from dataprops.errors import DatapropsError
from dataprops.probe import measure, record
from dataprops.probe.feature_file import read_features
from dataprops.probe.space import MOST, Sampling, Space, measure_space
from dataprops.util.json import finite
from dataprops.util.normal import Z
from dataprops.util.tools import Tools

IMAGE_COLUMNS = ("image", "nearest_distance", "sharpness", *(name for name in record.COLUMNS if name != "image"))
PAIR_COLUMNS = ("kind", "a", "b", "distance")


def asked(config: AuditConfig) -> bool:
    """Whether a feature space besides pixels was requested."""
    return bool(config.features or config.model)


def check_features(config: AuditConfig, listing: pd.DataFrame) -> None:
    """Refuse a feature file that does not match the dataset, before any work.

    Raises
    ------
    DatapropsError
        If it does not match, or both --features and --model are given.
    """
    if config.features and config.model:
        raise DatapropsError("use either --features or --model: an audit measures one feature space besides pixels")
    if config.features:
        _read(config, listing["path"].tolist())


def _read(config: AuditConfig, paths: list[str]) -> np.ndarray:
    source = Path(config.source).expanduser()
    base = str(source if source.is_dir() else source.parent) if source.exists() else ""
    return read_features(config.features or "", paths, config.path_column, base)


def vectors_of(run: Run, ids: np.ndarray) -> np.ndarray:
    """Features of readable images, float [len(ids), D], from the file or the network."""
    config = run.config
    if config.features:
        return np.asarray(_read(config, run.files.listing.read(["path"])["path"].tolist())[ids], np.float64)
    from dataprops.probe.activations import embed, load_network

    name, made = config.model or "", run.files.decoded.read().preprocess
    classes = max(2, len(run.files.scanned.read().classes))
    net, layer = load_network(name, channels=made.channels, classes=classes, size=made.size)
    vectors = embed(net, layer, name, (pixels for _, pixels in Pictures(run).blocks(ids.tolist())))
    return vectors.astype(np.float64)


def measure_features(
    run: Run, tools: Tools, usable: pd.DataFrame, at: np.ndarray, leak_group: np.ndarray
) -> dict[str, Any]:
    """Measure the feature space and write its tables; returns its part of the summary.

    Parameters
    ----------
    usable : DataFrame
        Images with pixels and labels, as for the probe.
    at : int [m]
        Rows of `usable` that the probe uses.
    leak_group : int [m]
        Their leak groups.
    """
    config, files = run.config, run.files
    images = files.images.read(["image", "path", "pixels", "y", "label"])
    ids = images.loc[images["pixels"].notna(), "image"].to_numpy(np.int64)
    ids = ids[measure.draw_images(len(ids), MOST, config.seed)]
    numeric = files.scanned.read().label_kind == "numbers"
    with tools.progress("your features", len(ids), "images") as advance:
        vectors = vectors_of(run, ids)
        y = images["y"].to_numpy(float)[ids]
        space = measure_space(
            vectors,
            y,
            numeric=numeric,
            k=config.k,
            groups=estimators_of(run),
            sampling=Sampling(config.sample, config.draws, config.seed),
        )
        table = pd.DataFrame({"image": ids, "nearest_distance": space.nearest, "sharpness": space.sharpness})
        told, rows = _probe(run, usable, at, leak_group, vectors, ids)
        advance(len(ids))
    files.feature_images.write(table.merge(rows, on="image", how="left")[list(IMAGE_COLUMNS)])
    files.feature_pairs.write(_pairs(space, ids))
    return {"feature_space": _summary(run, space, len(ids), images["path"].to_numpy(object)[ids]) | told}


def _probe(
    run: Run, usable: pd.DataFrame, at: np.ndarray, leak_group: np.ndarray, vectors: np.ndarray, ids: np.ndarray
) -> tuple[dict[str, Any], pd.DataFrame]:
    """The reference classifier on the features, with the same images and folds as for pixels."""
    place = np.full(int(ids.max(initial=-1)) + 1, -1, np.int64)
    place[ids] = np.arange(len(ids))
    image = usable["image"].to_numpy(np.int64)[at]
    there = np.isin(image, ids)
    at, leak_group, image = at[there], leak_group[there], image[there]
    numeric = run.files.scanned.read().label_kind == "numbers"
    part = usable.iloc[at]
    reason = (
        run.files.probed.read()["probe_withheld"]
        if not len(at)
        else measure.reason_not_applicable(part["y"].to_numpy(), leak_group, numeric=numeric)
    )
    if reason is not None:
        return {"probe": None, "probe_withheld": reason}, record.empty_table()
    names, y = (None, part["y"].to_numpy(float)) if numeric else codes_of(part)
    features = measure.standardised(vectors[place[image]])
    found = measure.run_probe(None, y, leak_group, numeric=numeric, features=features, seed=run.config.seed)
    summary = record.summary_of(found, y, names, grouped_by(part), []) | {"n_total": len(usable)}
    return {"probe": summary, "probe_withheld": None}, record.table_of(found, image, y, names, leak_group)


def _pairs(space: Space, ids: np.ndarray) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"kind": kind, "a": ids[pairs.a], "b": ids[pairs.b], "distance": pairs.distance})
        for kind, pairs in (("near_duplicate", space.near), ("sharpest", space.sharpest))
    ]
    return pd.concat(parts, ignore_index=True)[list(PAIR_COLUMNS)]


def _summary(run: Run, space: Space, n: int, path: np.ndarray) -> dict[str, Any]:
    """The summary's `feature_space` without its probe, with the same keys as for pixels."""
    draws = np.array(space.draws)
    known = space.sharpness[np.isfinite(space.sharpness)]
    labelled = len(known) > 0

    def quantile(q: float) -> float | None:
        return float(np.quantile(known, q)) if labelled else None

    sharpest = None
    if len(space.sharpest.a):
        a, b = int(space.sharpest.a[0]), int(space.sharpest.b[0])
        sharpest = {"a": str(path[a]), "b": str(path[b]), "distance": float(space.sharpest.distance[0])}
    return {
        "source": run.config.features or run.config.model,
        "n_images": n,
        "features": space.features,
        "distinct": space.distinct,
        "intrinsic_dimension": {
            name: {
                "value": finite(e.value),
                "se": finite(e.se),
                "interval": [finite(e.value - Z * e.se), finite(e.value + Z * e.se)],
                "note": e.note,
            }
            for name, e in space.estimates.items()
        },
        "label_sharpness": {
            "all_pairs": float(known.max()) if labelled else None,
            "sample": {
                "mean": float(draws.mean()) if labelled else None,
                "std": float(draws.std(ddof=1)) if labelled and len(draws) > 1 else None,
                "m": space.m,
                "draws": len(draws),
            },
            "q50": quantile(0.5),
            "q95": quantile(0.95),
            "q99": quantile(0.99),
            "sharpest_pair": sharpest,
        },
        "near_duplicates": {
            "pairs": len(space.near.a),
            "images": len(np.union1d(space.near.a, space.near.b)),
            "ratio": None if math.isnan(space.ratio) else space.ratio,
        },
    }


def property_rows(told: dict[str, Any]) -> pd.DataFrame:
    """Rows of `properties.parquet`: the names used for pixels, with the prefix ``features.``."""
    nan, rows = float("nan"), []
    for name, e in told["intrinsic_dimension"].items():
        low, high = (nan if end is None else end for end in e["interval"])
        value, se = (nan if e[key] is None else e[key] for key in ("value", "se"))
        rows.append((f"intrinsic_dimension.{name}", value, se, told["distinct"], 0, 0, low, high, e["note"]))
    sharp, n = told["label_sharpness"], told["n_images"]
    sample = sharp["sample"]
    note = "" if sharp["all_pairs"] is not None else "no two images with different labels"
    for name in ("all_pairs", "q50", "q95", "q99"):
        value = nan if sharp[name] is None else sharp[name]
        rows.append((f"label_sharpness.{name}", value, nan, n, 0, 0, nan, nan, note))
    mean, std = (nan if sample[key] is None else sample[key] for key in ("mean", "std"))
    rows.append(("label_sharpness.sample", mean, std, n, 0, sample["m"], nan, nan, note))
    probe = told["probe"]
    if probe is not None:
        names = ["error", "log_loss"] if probe["log_loss"] else ["error"]
        for name in names:
            e = probe[name]
            rows.append((f"probe.{name}", e["value"], nan, probe["n_images"], 0, 0, e["low"], e["high"], ""))
    table = pd.DataFrame(rows, columns=["property", "value", "se", "n", "k", "m", "low", "high", "note"])
    return table.assign(property="features." + table["property"])
