"""Copies and near-copies across patients."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from dataprops.findings.check import Check
from dataprops.findings.context import Context
from dataprops.findings.copies import duplicate_groups
from dataprops.findings.near_duplicates import with_words
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row, differ, or_none, quoted


def _pairs(context: Context) -> Iterator[tuple[int, int, float, str]]:
    group = or_none(context.images["group"])
    for members in duplicate_groups(context.images):
        for a, b in combinations(members, 2):
            if differ(group, a, b):
                yield int(a), int(b), 0.0, "the same picture"
    near = with_words(context.near, context.features)
    for a, b, rms, what in near[["a", "b", "rms", "what"]].itertuples(index=False):
        if differ(group, a, b):
            yield int(a), int(b), float(rms), what


def find(context: Context) -> Iterator[Row]:
    """One row per pair; its value is the distance after alignment (RMS, grey levels)."""
    path, group = context.images["path"].to_numpy(object), or_none(context.images["group"])
    for a, b, rms, what in _pairs(context):
        yield (
            (a, b),
            rms,
            f"{quoted(path[a])} of {quoted(str(group[a]))} and {quoted(path[b])} of {quoted(str(group[b]))} are one picture"
            f" ({what}; {rms:.2f} grey levels apart): one patient under two ids, or a picture filed under the wrong patient.",
        )


def measures(context: Context) -> dict[str, float]:
    """copies_across_groups, if groups are known."""
    if not context.images["group"].notna().any():
        return {}
    return {"copies_across_groups": float(len({(a, b) for a, b, _, _ in _pairs(context)}))}


FINDING = Finding(
    name="copies_across_groups",
    severity="warning",
    title="One picture under two patients",
    explanation=(
        "The same picture, or a near-copy, is filed under two ids: a split by patient does not keep it on one side."
        " Find out which id is right, or whether both are one patient."
    ),
    find=find,
    measures=measures,
    checks=(
        Check(
            name="copies_across_groups",
            measure="copies_across_groups",
            max=0,
            severity="warning",
            title="no picture under two patients",
            sentence=(
                "{value:pair of copies is|pairs of copies are} filed under two patients: a split by patient would not keep them"
                " apart."
            ),
            reason="a picture shows one patient",
        ),
    ),
    shown="pairs",
)
