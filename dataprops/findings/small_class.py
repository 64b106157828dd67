"""Classes with too few images."""

from __future__ import annotations

from collections.abc import Iterator

from dataprops.findings.check import Check
from dataprops.findings.classes import class_sizes
from dataprops.findings.context import Context
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row


def find(context: Context) -> Iterator[Row]:
    """One row per class with too few readable images; its value is their number."""
    images = context.images
    if context.kind != "classes":
        return
    for name in context.empty_classes if context.fails(0, "smallest_class") else ():
        yield (), 0, f"Class {name} has no images at all."
    sizes = class_sizes(images)
    readable = images[images["pixels"].notna()]
    numbers, places = readable["image"].to_numpy(), readable.groupby("label", observed=True).indices
    for label, size in sizes.items():
        if not context.fails(size, "smallest_class"):
            continue
        yield (
            numbers[places.get(label, [])],
            size,
            f"Class {label} has only {size} readable image{'' if size == 1 else 's'}.",
        )


def measures(context: Context) -> dict[str, float]:
    """n_classes, empty classes included; smallest_class: readable images of the smallest class."""
    if context.kind != "classes":
        return {}
    sizes = class_sizes(context.images)
    smallest = 0.0 if context.empty_classes else float(sizes.iloc[-1])
    return {"n_classes": float(len(sizes) + len(context.empty_classes)), "smallest_class": smallest}


FINDING = Finding(
    name="small_class",
    severity="warning",
    title="Very small classes",
    explanation="A class with so few images can be neither learnt nor tested. Add images or merge it.",
    find=find,
    measures=measures,
    checks=(
        Check(
            name="smallest_class",
            measure="smallest_class",
            min=10,
            severity="warning",
            title="no very small class",
            sentence=(
                "The smallest class has {value:readable image|readable images}: too few to learn or to test (at least"
                " {threshold:.0f})."
            ),
            reason="two of ten images go to a test, which can then measure an accuracy of 0, 50 or 100 % only",
        ),
    ),
    shown="groups",
)
