"""Images that made the dataset harder to learn since the previous audit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dataprops.findings.check import Check
from dataprops.findings.context import Context
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row, or_none, quoted

LISTED = 200
LEAST = 0.1  # minimum rise, relative to the mean loss before


def find(context: Context) -> Iterator[Row]:
    """One row per image whose loss rose, or that is new with a loss above the earlier mean; its value is the rise in nats."""
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


def measures(context: Context) -> dict[str, float]:
    """predicted_log_loss_change_low: lower confidence bound of the log ratio of the losses, beyond the effect of fewer images."""
    if context.since is None or context.since.change.get("value") is None:
        return {}
    change = context.since.change
    return {"predicted_log_loss_change_low": float(change["low"] - max(change["expected"], 0.0))}


FINDING = Finding(
    name="harder_to_learn",
    severity="info",
    title="Harder to learn than before",
    explanation=(
        "The reference classifier does worse on this dataset than on its previous state, and these images contribute most: wrong"
        " labels, pictures that lost what shows the class, or cases of another kind. Look at the first ones."
    ),
    find=find,
    measures=measures,
    checks=(
        Check(
            name="loss_rises",
            measure="predicted_log_loss_change_low",
            max=0.0488,
            severity="warning",
            title="no harder to learn than before",
            sentence=(
                "Since the previous audit the dataset has become harder to learn, or its labels noisier: the held-out loss of"
                " the reference classifier has risen by at least {rise:share}, more than sampling noise and a smaller"
                " dataset explain (up to {rise_threshold:share} is tolerated). Look at the images that contribute most."
            ),
            reason="log(1.05), against the lower end of the 95 % interval: a rise of 5 % or more, and more than sampling noise",
        ),
    ),
    shown="images",
)
