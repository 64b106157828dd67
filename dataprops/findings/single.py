"""Findings about single images and about classes: unreadable, unlabelled, outliers, unequal and very small classes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from dataprops.findings.options import FindOptions
from dataprops.findings.table import Row, quoted

LEAST_FOR_OUTLIERS = 20


def unreadable(images: pd.DataFrame, options: FindOptions) -> Iterator[Row]:
    """One row for each image that could not be decoded."""
    for image, path, error in images.loc[images["pixels"].isna(), ["image", "path", "error"]].itertuples(index=False):
        yield (image,), 0.0, f"{quoted(path)}: {error}."


def unlabelled(images: pd.DataFrame, options: FindOptions) -> Iterator[Row]:
    """One row for each image without a label, where others have one."""
    missing = images["y"].isna()
    if options.kind == "none" or not missing.any():
        return
    for image, path in images.loc[missing, ["image", "path"]].itertuples(index=False):
        yield (image,), 0.0, f"{quoted(path)} has no label."


def several_frames(images: pd.DataFrame, options: FindOptions) -> Iterator[Row]:
    """One row for each readable file of which other frames were not looked at; its value is the number of its frames."""
    if "frames" not in images:  # tables of before
        return
    several = images[(images["frames"] > 1) & images["pixels"].notna()]
    for image, path, frames in several[["image", "path", "frames"]].itertuples(index=False):
        yield (image,), frames, f"{quoted(path)} holds {frames:,} frames; the middle one was taken."


def outlier_images(images: pd.DataFrame, fence: float) -> pd.DataFrame:
    """Distinct images whose distance to their neighbours is far beyond the others': image, ratio to the median.

    Tukey's far-out fence on the logarithm of the distance to the k-th neighbour.
    """
    distinct = images[(images["duplicate_of"] == images["image"]) & (images["knn_distance"] > 0)]
    if len(distinct) < LEAST_FOR_OUTLIERS:
        return pd.DataFrame({"image": [], "ratio": []})
    logs = np.log(distinct["knn_distance"].to_numpy())
    low, middle, high = np.quantile(logs, [0.25, 0.5, 0.75])
    far = logs > high + fence * (high - low)
    if high == low:
        far[:] = False
    return pd.DataFrame({"image": distinct["image"].to_numpy()[far], "ratio": np.exp(logs[far] - middle)})


def outliers(images: pd.DataFrame, options: FindOptions) -> Iterator[Row]:
    """One row for each distinct outlier, the farthest first; its value is its distance over the median one."""
    found = outlier_images(images, options.outlier_fence).sort_values(["ratio", "image"], ascending=[False, True])
    if found.empty:
        return
    readable = images[images["duplicate_of"].isin(found["image"])]
    copies = {int(first): part["image"].to_numpy() for first, part in readable.groupby("duplicate_of")}
    path = images["path"].to_numpy(object)
    for image, ratio in found.itertuples(index=False):
        yield (
            copies[int(image)],
            ratio,
            f"{quoted(path[int(image)])} is {ratio:.1f} times as far from its neighbours as the typical image.",
        )


def class_sizes(images: pd.DataFrame) -> pd.Series:
    """Readable images of each class, classes without any included, largest first."""
    sizes = images[images["pixels"].notna()].groupby("label").size()
    every = images.loc[images["label"].notna(), "label"].unique()
    sizes = sizes.reindex(sorted(every), fill_value=0)
    return sizes.sort_values(ascending=False, kind="stable")


def class_imbalance(images: pd.DataFrame, options: FindOptions) -> Iterator[Row]:
    """One row if the largest class is too many times the smallest; its value is that ratio."""
    if options.kind != "classes":
        return
    sizes = class_sizes(images)
    if len(sizes) < 2 or sizes.iloc[-1] == 0:
        return
    ratio = sizes.iloc[0] / sizes.iloc[-1]
    if ratio > options.class_ratio:
        yield (
            (),
            ratio,
            f"Class {sizes.index[0]} has {sizes.iloc[0]:,} images, class {sizes.index[-1]} has {sizes.iloc[-1]:,}:"
            f" {ratio:.1f} times as many.",
        )


def small_class(images: pd.DataFrame, options: FindOptions) -> Iterator[Row]:
    """One row for each class with too few readable images; its value is their number."""
    if options.kind != "classes":
        return
    for name in options.empty_classes:
        yield (), 0, f"Class {name} has no images at all."
    sizes = class_sizes(images)
    for label, size in sizes[sizes < options.small_class].items():
        members = images.loc[(images["label"] == label) & images["pixels"].notna(), "image"].to_numpy()
        yield members, size, f"Class {label} has {size} readable image{'' if size == 1 else 's'} only."
