"""Exact duplicates."""

from __future__ import annotations

from collections.abc import Iterator

from dataprops.findings.check import Check
from dataprops.findings.context import Context
from dataprops.findings.copies import duplicate_groups
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row, quoted


def find(context: Context) -> Iterator[Row]:
    """One row per group; its value is the number of copies."""
    images = context.images
    content = images["content"].to_numpy(object)
    path = images["path"].to_numpy(object)
    for members in duplicate_groups(images):
        same = bool((content[members] == content[members[0]]).all())
        first = quoted(path[members[0]])
        who = (
            f"{first} and {quoted(path[members[1]])}"
            if len(members) == 2
            else f"{first} and {len(members) - 1:,} others"
        )
        what = "the files are identical, too" if same else "the pixels are identical, the files are not"
        yield (
            members,
            len(members),
            f"{who} are the same picture; {what}.",
        )


def measures(context: Context) -> dict[str, float]:
    """redundant_share: fraction of readable images that duplicate an earlier one."""
    readable = context.images[context.images["pixels"].notna()]
    if not len(readable):
        return {}
    return {"redundant_share": float((readable["duplicate_of"] != readable["image"]).mean())}


FINDING = Finding(
    name="exact_duplicates",
    severity="warning",
    title="Exact duplicates",
    explanation="The same picture appears more than once and is over-weighted. Keep one of each.",
    find=find,
    measures=measures,
    checks=(
        Check(
            name="duplicates",
            measure="redundant_share",
            max=0.01,
            severity="warning",
            title="few exact duplicates",
            sentence=(
                "{value:share} of the images are exact copies of others (at most {threshold:share} are tolerated)."
            ),
            reason="one copy in a hundred hardly affects training; more look like a faulty export",
        ),
    ),
    shown="groups",
)
