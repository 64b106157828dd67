"""Pairs that raised the label sharpness since the previous audit."""

from __future__ import annotations

from collections.abc import Iterator

from dataprops.findings.check import Check
from dataprops.findings.context import Context
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row, or_none, quoted


def find(context: Context) -> Iterator[Row]:
    """One row per new sharp pair, sharpest first; its value is the sharpness."""
    since = context.since
    if since is None or since.sharpness is None or not context.fails(since.sharpness["low"], "sharpness_rises"):
        return
    path, label = or_none(context.images["path"]), or_none(context.images["label"])
    for a, b, distance, sharpness in since.pairs[["a", "b", "distance", "sharpness"]].itertuples(index=False):
        a, b = int(a), int(b)
        yield (
            (a, b),
            float(sharpness),
            f"{quoted(path[a])} ({label[a]}) and {quoted(path[b])} ({label[b]}) are {distance:,.0f} grey levels apart, a pair that the"
            f" previous audit did not have: sharpness {sharpness:.3g}.",
        )


def measures(context: Context) -> dict[str, float]:
    """label_sharpness_rise_low: lower confidence bound of the log ratio of the sharpness to that of the previous audit, at equal M."""
    if context.since is None or context.since.sharpness is None:
        return {}
    return {"label_sharpness_rise_low": float(context.since.sharpness["low"])}


FINDING = Finding(
    name="sharper_labels",
    severity="info",
    title="Sharper labels than before",
    explanation=(
        "The most similar images with different labels are more similar than in the previous audit. A wrong label or a"
        " near-copy in two classes does that; these are the new pairs."
    ),
    find=find,
    measures=measures,
    checks=(
        Check(
            name="sharpness_rises",
            measure="label_sharpness_rise_low",
            max=0.0,
            severity="info",
            title="labels no sharper than before",
            sentence=(
                "The label sharpness rose by at least {rise:share} since the previous audit (more than sampling noise):"
                " look at the new pairs."
            ),
            reason="the lower end of the 95 % interval, at equal sample sizes",
        ),
    ),
    shown="pairs",
)
