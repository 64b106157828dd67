"""Which image of a pair has the suspect label."""

from __future__ import annotations

from collections.abc import Callable

from dataprops.findings.context import Context
from dataprops.findings.rows import quoted

SUSPECT = 0.5  # minimum probability of another label on the suspect side
TIMES = 2.0  # minimum ratio of that probability to the other image's


def suspect_side(context: Context) -> Callable[[int, int], str]:
    """A function of two images that returns a sentence naming the one whose label the witnesses consider wrong, or ""."""
    said = context.opinions
    if said is None:
        return lambda a, b: ""
    doubt = dict(zip(said.image.tolist(), said.doubt.tolist(), strict=True))
    if said.sample is not None:
        doubt |= dict(zip(said.sample.image.tolist(), said.sample.doubt.tolist(), strict=True))
    path = context.images["path"].to_numpy(object)

    def words(a: int, b: int) -> str:
        if a not in doubt or b not in doubt:
            return ""
        worse = a if doubt[a] > doubt[b] else b
        high, low = doubt[worse], min(doubt[a], doubt[b])
        if high < SUSPECT or high < TIMES * low:
            return ""
        return f" The label of {quoted(path[worse])} is the suspect one (probability of another one {high:.2f} against {low:.2f})."

    return words
