"""What stands out in a dataset, each finding with the images it names.

`find` makes the table of findings, in the order of `table.KINDS`; `measures` the numbers that checks look at. Counts are exact
even where a list is cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pandas as pd

from dataprops.findings import copies, leakage, shortcut, single
from dataprops.findings.options import FindOptions
from dataprops.findings.shortcut import shortcut_scores
from dataprops.findings.table import KINDS, Row, rows

__all__ = ["KINDS", "FindOptions", "find", "measures", "shortcut_scores"]


def _sharpest(images: pd.DataFrame, sharpest: pd.DataFrame) -> Iterator[Row]:
    label, path = images["label"].to_numpy(object), images["path"].to_numpy(object)
    for a, b, distance, sharpness in sharpest[["a", "b", "distance", "sharpness"]].itertuples(index=False):
        yield (
            (a, b),
            sharpness,
            f"“{path[a]}” ({label[a]}) and “{path[b]}” ({label[b]}) are {distance:,.0f} grey levels apart:"
            f" sharpness {sharpness:.3g}.",
        )


def find(
    images: pd.DataFrame, near: pd.DataFrame, sharpest: pd.DataFrame, scores: pd.DataFrame, options: FindOptions
) -> pd.DataFrame:
    """All findings of a set.

    Parameters
    ----------
    images : DataFrame
        The run's images with their local values (see README.md); row i is image i.
    near : DataFrame
        Near-identical pairs of distinct images: a, b, distance.
    sharpest : DataFrame
        The sharpest pairs: a, b, distance, sharpness.
    scores : DataFrame
        Of `shortcut_scores`.

    Returns
    -------
    DataFrame
        kind, severity, images (ids), paths, value, detail; at most `options.limit` rows of one kind.
    """
    found: dict[str, Iterator[Row]] = {
        "unreadable": single.unreadable(images, options),
        "label_conflicts": copies.label_conflicts(images, options),
        "split_leakage": leakage.split_leakage(images, near, options),
        "group_leakage": leakage.group_leakage(images, options),
        "exact_duplicates": copies.exact_duplicates(images, options),
        "near_duplicates": copies.near_duplicates(images, near, options),
        "group_in_classes": leakage.group_in_classes(images, options),
        "unlabelled": single.unlabelled(images, options),
        "several_frames": single.several_frames(images, options),
        "class_imbalance": single.class_imbalance(images, options),
        "small_class": single.small_class(images, options),
        "shortcut": shortcut.shortcut(scores, options),
        "outliers": single.outliers(images, options),
        "sharpest_pairs": _sharpest(images, sharpest),
    }
    parts = [rows(kind, images, islice(found[kind], options.limit)) for kind in KINDS]
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else parts[0]


def measures(
    images: pd.DataFrame, near: pd.DataFrame, near_count: int, scores: pd.DataFrame, options: FindOptions
) -> dict[str, float]:
    """The numbers of a set that findings count; a measure that does not apply is absent.

    Parameters
    ----------
    near_count : int
        Near-identical pairs in all, listed or not.
    """
    n = len(images)
    readable = images[images["pixels"].notna()]
    out: dict[str, float] = {
        "n_images": n,
        "n_unreadable": n - len(readable),
        "unreadable_share": (n - len(readable)) / n if n else 0.0,
    }
    if len(readable):
        out["redundant_share"] = float((readable["duplicate_of"] != readable["image"]).mean())
        in_pair = readable["duplicate_of"].isin(pd.unique(near[["a", "b"]].to_numpy().ravel()))
        out["near_duplicate_share"] = float(in_pair.mean())
        out["near_pairs"] = float(near_count)
        far = single.outlier_images(images, options.outlier_fence)
        out["outlier_share"] = float(readable["duplicate_of"].isin(far["image"]).mean())
    if options.kind != "none":
        out["unlabelled_share"] = float(images["y"].isna().mean())
        out["conflict_pairs"] = float(copies.conflict_count(images))
    if options.kind == "classes":
        sizes = single.class_sizes(images)
        out["n_classes"] = float(len(sizes) + len(options.empty_classes))
        out["smallest_class"] = 0.0 if options.empty_classes else float(sizes.iloc[-1])
        if sizes.iloc[-1] > 0 and len(sizes) > 1:
            out["class_ratio"] = float(sizes.iloc[0] / sizes.iloc[-1])
    if images["split"].notna().any():
        out["split_leaks"] = float(leakage.leak_count(images, near))
    if images["group"].notna().any():
        if images["split"].notna().any():
            out["group_leaks"] = float(sum(1 for _ in leakage.group_leakage(images, options)))
        if options.kind == "classes":
            out["groups_in_classes"] = float(sum(1 for _ in leakage.group_in_classes(images, options)))
    best = shortcut.best_property(scores)
    if best is not None:
        out["shortcut_score"] = float(best["score"])
    return out
