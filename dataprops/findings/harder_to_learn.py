"""Images by which the set became harder to learn since the previous audit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dataprops.findings.context import Context
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row, or_none, quoted

LISTED = 200
LEAST = 0.1  # of the mean loss before: by less an image is no reason


def find(context: Context) -> Iterator[Row]:
    """One row for each image whose loss rose, or that came with a loss above the earlier mean; its value is by how much, nats."""
    since = context.since
    if since is None or since.change.get("value") is None:
        return
    if not context.fails(since.change["low"] - max(since.change["expected"], 0.0), "loss_rises"):
        return
    path, label = or_none(context.images["path"]), or_none(context.images["label"])
    mean = since.change["before"]
    losses = since.losses
    before = losses["before"].to_numpy(float)
    rise = losses["after"].to_numpy(float) - np.where(np.isnan(before), mean, before)
    for i in np.argsort(-rise, kind="stable")[:LISTED]:
        if rise[i] < LEAST * mean:
            return
        image = int(losses["image"].iloc[i])
        earlier, after = losses["label_before"].iloc[i], losses["after"].iloc[i]
        if np.isnan(before[i]):
            told = f"is new: loss {after:.2g}, against {mean:.2g} on average in the previous audit"
        else:
            told = f"has a loss of {after:.2g}, {before[i]:.2g} in the previous audit"
        if earlier is not None and earlier != label[image]:
            told += f"; it was labelled {quoted(str(earlier))}, now {quoted(str(label[image]))}"
        yield (image,), float(rise[i]), f"{quoted(path[image])} {told}."


FINDING = Finding(
    name="harder_to_learn",
    severity="info",
    title="Harder to learn than before",
    explanation=(
        "The reference classifier does worse on this set than on its previous state, and these images make it so:"
        " labels that are wrong, pictures that lost what shows the class, or cases of another kind. Look at the first"
        " ones."
    ),
    find=find,
    shown="images",
)
