"""Images nearly identical in the space of user-supplied features, in addition to near-copies in pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dataprops.findings.context import Context
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row, or_none, quoted


def find(context: Context) -> Iterator[Row]:
    """One row per pair, those across splits or labels first, then closest first; its value is the feature distance."""
    if context.feature_pairs is None:
        return
    pairs = context.feature_pairs
    pairs = pairs[pairs["kind"] == "near_duplicate"]
    path, split, label = (or_none(context.images[name]) for name in ("path", "split", "label"))
    first = context.images["duplicate_of"].to_numpy()
    known = {tuple(sorted(pair)) for pair in context.near[["a", "b"]].to_numpy(np.int64).tolist()}
    rows: list[tuple[bool, float, tuple[int, int], list[str], str]] = []
    for a, b, distance in pairs[["a", "b", "distance"]].itertuples(index=False):
        apart = [what for what, column in (("splits", split), ("labels", label)) if _differ(column[a], column[b])]
        if first[a] == first[b]:
            pixels = "identical in pixels, too"
        elif tuple(sorted((int(first[a]), int(first[b])))) in known:
            pixels = "near-copies in pixels, too"
        else:
            pixels = "no near-copies in pixels"
        rows.append((not apart, distance, (int(a), int(b)), apart, pixels))
    for _, distance, ids, apart, pixels in sorted(rows, key=lambda row: row[:3]):
        told = f" They have two {' and two '.join(apart)}." if apart else ""
        how = "the same features" if distance == 0 else f"features only {distance:.3g} apart"
        yield ids, float(distance), f"{quoted(path[ids[0]])} and {quoted(path[ids[1]])} have {how}; {pixels}.{told}"


def _differ(one: object, other: object) -> bool:
    return one is not None and other is not None and one != other


def measures(context: Context) -> dict[str, float]:
    """feature_near_pairs: pairs in the space of user-supplied features, if given."""
    if context.feature_pairs is None:
        return {}
    return {"feature_near_pairs": float((context.feature_pairs["kind"] == "near_duplicate").sum())}


FINDING = Finding(
    name="feature_near_duplicates",
    severity="info",
    title="Near-copies by your features",
    explanation=(
        "Your features barely distinguish these images, far less than others near them. If the pixels do differ, the features see the"
        " same subject twice (a patient, a scene), or have lost the difference."
    ),
    find=find,
    measures=measures,
    shown="pairs",
)
