"""The same image, or the same patient, on both sides of a split; and a patient in two classes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pandas as pd

from dataprops.findings.copies import duplicate_groups
from dataprops.findings.options import FindOptions
from dataprops.findings.table import Row, pair_count, quoted, split_names


def _members(images: pd.DataFrame) -> dict[int, np.ndarray]:
    """First image -> all images with its pixels, where there are several."""
    return {int(members[0]): members for members in duplicate_groups(images)}


def split_leakage(images: pd.DataFrame, near: pd.DataFrame, options: FindOptions) -> Iterator[Row]:
    """One row for each pair of identical or near-identical images in different splits; its value is the distance."""
    split, path = images["split"].to_numpy(object), images["path"].to_numpy(object)

    def across(a: int, b: int) -> bool:
        return split[a] is not None and split[b] is not None and split[a] != split[b]

    groups = _members(images)
    for members in groups.values():
        for a, b in combinations(members, 2):
            if across(a, b):
                yield (
                    (a, b),
                    0.0,
                    f"{quoted(path[a])} ({split[a]}) and {quoted(path[b])} ({split[b]}) are the same picture.",
                )
    for first, second, distance in near[["a", "b", "distance"]].itertuples(index=False):
        rms = distance / np.sqrt(options.features)
        for a in groups.get(first, (first,)):
            for b in groups.get(second, (second,)):
                if across(a, b):
                    yield (
                        (a, b),
                        distance,
                        f"{quoted(path[a])} ({split[a]}) and {quoted(path[b])} ({split[b]}) differ by only {rms:.2f} grey"
                        " levels on average (RMS).",
                    )


def leak_count(images: pd.DataFrame, near: pd.DataFrame) -> int:
    """Pairs that `split_leakage` would list, counted without listing them."""
    split = images[(images["duplicate_of"] >= 0) & images["split"].notna()]
    sizes = split.groupby(["duplicate_of", "split"]).size()
    by_content = {int(first): part.droplevel(0) for first, part in sizes.groupby(level=0)}
    within = sum(pair_count(part.to_numpy()) for part in by_content.values() if len(part) > 1)
    between = 0
    for a, b in near[["a", "b"]].itertuples(index=False):
        if a in by_content and b in by_content:
            one, two = by_content[a], by_content[b]
            between += int(one.sum()) * int(two.sum()) - sum(
                int(one[s]) * int(two[s]) for s in one.index if s in two.index
            )
    return within + between


def _groups_with_several(images: pd.DataFrame, column: str) -> Iterator[tuple[str, pd.DataFrame]]:
    given = images[images["group"].notna() & images[column].notna()]
    several = given.groupby("group")[column].nunique()
    wanted = given[given["group"].isin(several.index[several > 1])]
    yield from wanted.groupby("group", sort=True)


def group_leakage(images: pd.DataFrame, options: FindOptions) -> Iterator[Row]:
    """One row for each group that stands in several splits; its value is the number of its images."""
    for group, members in _groups_with_several(images, "split"):
        where = split_names(members["split"])
        yield members["image"].to_numpy(), len(members), f"Images of {quoted(str(group))} are in {where}."


def group_in_classes(images: pd.DataFrame, options: FindOptions) -> Iterator[Row]:
    """One row for each group that stands in several classes; its value is the number of its images."""
    if options.kind != "classes":
        return
    for group, members in _groups_with_several(images, "label"):
        labels = split_names(members["label"])
        yield members["image"].to_numpy(), len(members), f"Images of {quoted(str(group))} are labelled {labels}."
