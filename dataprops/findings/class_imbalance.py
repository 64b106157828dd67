"""Classes of unequal size."""

from __future__ import annotations

from collections.abc import Iterator

from dataprops.findings.check import Check
from dataprops.findings.classes import class_sizes
from dataprops.findings.context import Context
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row


def find(context: Context) -> Iterator[Row]:
    """One row if the ratio of largest to smallest class exceeds the threshold; its value is that ratio."""
    if context.kind != "classes":
        return
    sizes = class_sizes(context.images)
    if len(sizes) < 2 or sizes.iloc[-1] == 0:
        return
    ratio = sizes.iloc[0] / sizes.iloc[-1]
    if context.fails(ratio, "class_ratio"):
        yield (
            (),
            ratio,
            f"Class {sizes.index[0]} has {sizes.iloc[0]:,} images, class {sizes.index[-1]} has {sizes.iloc[-1]:,}:"
            f" {ratio:.1f} times as many.",
        )


def measures(context: Context) -> dict[str, float]:
    """class_ratio: images of the largest class per image of the smallest, if no class is empty."""
    if context.kind != "classes":
        return {}
    sizes = class_sizes(context.images)
    return {"class_ratio": float(sizes.iloc[0] / sizes.iloc[-1])} if len(sizes) > 1 and sizes.iloc[-1] > 0 else {}


FINDING = Finding(
    name="class_imbalance",
    severity="warning",
    title="Unequal classes",
    explanation="One class holds many more images than another; a network can score well by ignoring the small one.",
    find=find,
    measures=measures,
    checks=(
        Check(
            name="class_ratio",
            measure="class_ratio",
            max=3.0,
            severity="warning",
            title="classes of similar size",
            sentence=(
                "The largest class has {value:.1f} times as many images as the smallest (at most {threshold:.3g} "
                "times is tolerated)."
            ),
            reason="at 3 to 1, always predicting the larger of two classes is right 75 % of the time",
        ),
    ),
    shown="text",
)
