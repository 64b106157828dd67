"""Near-copies with different labels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from dataprops.findings.check import Check
from dataprops.findings.context import Context
from dataprops.findings.near_duplicates import with_words
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row, quoted
from dataprops.findings.sides import suspect_side

CLOSE_RMS = 4.0  # grey levels (RMS) below which a difference is invisible


def conflicting(context: Context) -> pd.DataFrame:
    """Near-copies with different labels, except pairs within a series, closest first."""
    near = with_words(context.near, context.features)
    y = context.images["y"].to_numpy(float)
    one, two = y[near["a"].to_numpy(np.int64)], y[near["b"].to_numpy(np.int64)]
    differ = np.isfinite(one) & np.isfinite(two) & (one != two) & ~near["series"].to_numpy(bool)
    return near[differ].sort_values(["rms", "a", "b"], kind="stable")


def find(context: Context) -> Iterator[Row]:
    """One row per pair; its value is the distance after alignment (RMS, grey levels)."""
    if context.kind != "classes":
        return
    side = suspect_side(context)
    path, label = context.images["path"].to_numpy(object), context.images["label"].to_numpy(object)
    for a, b, rms, what in conflicting(context)[["a", "b", "rms", "what"]].itertuples(index=False):
        yield (
            (a, b),
            rms,
            f"{quoted(path[a])} is labelled {label[a]}, its near-copy {quoted(path[b])} is labelled {label[b]} ({what};"
            f" {rms:.2f} grey levels apart): at least one of the labels is probably wrong."
            f"{side(int(a), int(b))}",
        )


def measures(context: Context) -> dict[str, float]:
    """near_conflict_pairs: number of pairs; near_conflict_close: those within `CLOSE_RMS`."""
    if context.kind != "classes":
        return {}
    found = conflicting(context)
    return {
        "near_conflict_pairs": float(len(found)),
        "near_conflict_close": float((found["rms"] <= CLOSE_RMS).sum()),
    }


FINDING = Finding(
    name="near_conflicts",
    severity="warning",
    title="Near-copies with different labels",
    explanation=(
        "Nearly the same picture carries two labels. Look at both: unless the difference is the finding itself, one label is wrong."
    ),
    find=find,
    measures=measures,
    checks=(
        Check(
            name="near_conflicts",
            measure="near_conflict_pairs",
            max=0,
            severity="warning",
            title="no near-copies with different labels",
            sentence=(
                "{value:pair of near-copies carries|pairs of near-copies carry} different labels: at least one label of a pair is"
                " probably wrong."
            ),
            reason="one picture has one label; the fine detail of near-copies agrees as that of different pictures never does",
        ),
        Check(
            name="near_conflicts_close",
            measure="near_conflict_close",
            max=0,
            severity="critical",
            title="no indistinguishable pictures with different labels",
            sentence=(
                "{value:pair of pictures that nobody can tell apart carries|pairs of pictures that nobody can tell apart carry}"
                " different labels: at least one label of a pair is wrong."
            ),
            reason="a difference of four grey levels (RMS) is not seen: what differs so little is one picture",
        ),
    ),
    shown="pairs",
)
