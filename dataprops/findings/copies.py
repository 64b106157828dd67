"""Exact duplicates, identical images with different labels, near-identical images."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pandas as pd

from dataprops.findings.options import FindOptions
from dataprops.findings.table import Row, pair_count, quoted


def duplicate_groups(images: pd.DataFrame) -> Iterator[np.ndarray]:
    """Ids of each set of two or more images with the same canonical pixels, by first image."""
    readable = images[images["duplicate_of"] >= 0]
    repeated = readable[readable["duplicate_of"].duplicated(keep=False)]
    for _, members in repeated.groupby("duplicate_of", sort=True)["image"]:
        yield members.to_numpy()


def exact_duplicates(images: pd.DataFrame, options: FindOptions) -> Iterator[Row]:
    """One row for each group; its value is the number of copies."""
    content = images["content"].to_numpy(object)
    path = images["path"].to_numpy(object)
    for members in duplicate_groups(images):
        same = bool((content[members] == content[members[0]]).all())
        what = "the files are identical, too" if same else "the pixels are identical, the files are not"
        yield (
            members,
            len(members),
            f"{len(members)} images are the same picture as {quoted(path[members[0]])}; {what}.",
        )


def conflict_count(images: pd.DataFrame) -> int:
    """Pairs of identical images with different labels, counted without listing them."""
    labelled = images[(images["duplicate_of"] >= 0) & images["y"].notna()]
    sizes = labelled.groupby(["duplicate_of", "y"]).size()
    return sum(pair_count(part.to_numpy()) for _, part in sizes.groupby(level=0) if len(part) > 1)


def label_conflicts(images: pd.DataFrame, options: FindOptions) -> Iterator[Row]:
    """One row for each pair of identical images with different labels."""
    y, label, path = images["y"].to_numpy(), images["label"].to_numpy(object), images["path"].to_numpy(object)
    for members in duplicate_groups(images):
        if len(np.unique(y[members][~np.isnan(y[members])])) < 2:
            continue
        for a, b in combinations(members, 2):
            if y[a] < y[b] or y[a] > y[b]:
                yield (
                    (a, b),
                    0.0,
                    f"{quoted(path[a])} is labelled {label[a]}, the identical picture {quoted(path[b])} is labelled"
                    f" {label[b]}.",
                )


def near_duplicates(images: pd.DataFrame, near: pd.DataFrame, options: FindOptions) -> Iterator[Row]:
    """One row for each near-identical pair of distinct images; its value is the distance."""
    path = images["path"].to_numpy(object)
    for a, b, distance in near[["a", "b", "distance"]].itertuples(index=False):
        rms = distance / np.sqrt(options.features)
        yield (
            (a, b),
            distance,
            f"{quoted(path[a])} and {quoted(path[b])} differ by {rms:.2f} grey levels on average (RMS).",
        )
