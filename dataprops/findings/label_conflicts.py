"""Identical images with different labels."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pandas as pd

from dataprops.findings.blank import is_blank
from dataprops.findings.check import Check
from dataprops.findings.context import Context
from dataprops.findings.copies import duplicate_groups
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row, pairs_across, quoted
from dataprops.findings.sides import suspect_side


def conflict_count(images: pd.DataFrame) -> int:
    """Number of pairs of identical images with different labels, without listing them."""
    labelled = images[(images["duplicate_of"] >= 0) & images["y"].notna() & ~is_blank(images)]
    sizes = labelled.groupby(["duplicate_of", "y"]).size()
    return pairs_across(sizes)


def find(context: Context) -> Iterator[Row]:
    """One row per pair of identical images with different labels."""
    images = context.images
    y, label, path = images["y"].to_numpy(), images["label"].to_numpy(object), images["path"].to_numpy(object)
    side = suspect_side(context)
    blank = is_blank(images)  # an image-quality fault, no evidence about labels
    for members in duplicate_groups(images):
        if blank[members[0]] or len(np.unique(y[members][~np.isnan(y[members])])) < 2:
            continue
        for a, b in combinations(members, 2):
            if y[a] < y[b] or y[a] > y[b]:
                yield (
                    (a, b),
                    0.0,
                    f"{quoted(path[a])} is labelled {label[a]}, the identical picture {quoted(path[b])} is labelled"
                    f" {label[b]}.{side(a, b)}",
                )


def measures(context: Context) -> dict[str, float]:
    """conflict_pairs, if there are labels."""
    return {} if context.kind == "none" else {"conflict_pairs": float(conflict_count(context.images))}


FINDING = Finding(
    name="label_conflicts",
    severity="critical",
    title="Identical images with different labels",
    explanation=(
        "The very same picture carries two labels, so at least one label is wrong. Correct it before training."
    ),
    find=find,
    measures=measures,
    checks=(
        Check(
            name="conflicts",
            measure="conflict_pairs",
            max=0,
            severity="critical",
            title="no identical images with different labels",
            sentence=(
                "{value:pair of identical pictures carries|pairs of identical pictures carry} different labels: at "
                "least one label of a pair is wrong."
            ),
            reason="the same picture with two labels is wrong at least once",
        ),
    ),
    shown="pairs",
)
