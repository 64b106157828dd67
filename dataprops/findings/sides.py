"""Which image of a pair has the suspect label."""

from __future__ import annotations

from collections.abc import Callable

from dataprops.findings.context import Context
from dataprops.findings.rows import quoted

SUSPECT = 0.5  # score of the suspect side, at least
TIMES = 2.0  # the other's


def suspect_side(context: Context) -> Callable[[int, int], str]:
    """A function of two images: a sentence that names the one whose label the witnesses consider wrong, or ""."""
    said = context.opinions
    if said is None:
        return lambda a, b: ""
    score = dict(zip(said.image.tolist(), said.score.tolist(), strict=True))
    path = context.images["path"].to_numpy(object)

    def words(a: int, b: int) -> str:
        if a not in score or b not in score:
            return ""
        worse = a if score[a] > score[b] else b
        high, low = score[worse], min(score[a], score[b])
        if high < SUSPECT or high < TIMES * low:
            return ""
        return f" The label of {quoted(path[worse])} is the suspect one (score {high:.2f} against {low:.2f})."

    return words
