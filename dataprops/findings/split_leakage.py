"""Identical or near-identical images in different splits."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pandas as pd

from dataprops.findings.check import Check
from dataprops.findings.context import Context
from dataprops.findings.copies import duplicate_groups
from dataprops.findings.near_duplicates import with_words
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row, differ, or_none, pairs_across, quoted


def _members(images: pd.DataFrame) -> dict[int, np.ndarray]:
    """First image -> all images with the same pixels, if several."""
    return {int(members[0]): members for members in duplicate_groups(images)}


def find(context: Context) -> Iterator[Row]:
    """One row per pair of identical or near-identical images in different splits; its value is the distance."""
    images = context.images
    split, path = or_none(images["split"]), images["path"].to_numpy(object)

    groups = _members(images)
    for members in groups.values():
        for a, b in combinations(members, 2):
            if differ(split, a, b):
                yield (
                    (a, b),
                    0.0,
                    f"{quoted(path[a])} ({split[a]}) and {quoted(path[b])} ({split[b]}) are the same picture.",
                )
    near = with_words(context.near, context.features)
    for first, second, distance, rms, what in near[["a", "b", "distance", "rms", "what"]].itertuples(index=False):
        changed = "" if what == "the same view" else f" ({what})"
        for a in groups.get(first, (first,)):
            for b in groups.get(second, (second,)):
                if differ(split, a, b):
                    yield (
                        (a, b),
                        distance,
                        f"{quoted(path[a])} ({split[a]}) and {quoted(path[b])} ({split[b]}) are near-copies{changed}: they differ"
                        f" by only {rms:.2f} grey levels on average (RMS).",
                    )


def leak_count(images: pd.DataFrame, near: pd.DataFrame) -> int:
    """Number of pairs that `find` would list, without listing them."""
    split = images[(images["duplicate_of"] >= 0) & images["split"].notna()]
    counted = split.groupby(["duplicate_of", "split"]).size()
    pairs, whole = near[["a", "b"]], counted.groupby(level=0).sum()
    sizes = counted.rename("n").reset_index()
    between = int((pairs["a"].map(whole).fillna(0) * pairs["b"].map(whole).fillna(0)).sum())
    one = pairs.merge(sizes, left_on="a", right_on="duplicate_of")
    both = one.merge(sizes, left_on=["b", "split"], right_on=["duplicate_of", "split"])
    return pairs_across(counted) + between - int((both["n_x"] * both["n_y"]).sum())


def measures(context: Context) -> dict[str, float]:
    """split_leaks: pairs of identical or near-identical images in different splits, if there are splits."""
    if not context.images["split"].notna().any():
        return {}
    return {"split_leaks": float(leak_count(context.images, context.near))}


FINDING = Finding(
    name="split_leakage",
    severity="critical",
    title="The same image in two splits",
    explanation=(
        "An image (or a near-copy) in both the training and a test part makes the test result over-optimistic. Keep one "
        "of them."
    ),
    find=find,
    measures=measures,
    checks=(
        Check(
            name="split_leaks",
            measure="split_leaks",
            max=0,
            severity="critical",
            title="no image in two splits",
            sentence=(
                "{value:pair of identical or nearly identical pictures is|pairs of identical or nearly identical "
                "pictures are} in different splits: test results will be over-optimistic."
            ),
            reason="each one is a question whose answer the network has seen in training",
        ),
    ),
    shown="pairs",
)
