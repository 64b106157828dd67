"""What is known of the previous audit of the dataset where findings are made."""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd


class Since(NamedTuple):
    """What changed since the previous audit.

    Attributes
    ----------
    change : dict
        Paired change of the probe's loss: value, low, high (log ratio), before, after (mean losses), expected (what
        another number of images explains), or `withheld`.
    losses : DataFrame
        image, after (held-out loss), before (NaN: new), label_before (None: new).
    sharpness : dict or None
        Change of the label sharpness at equal M: before, after, value, low, high; None where it cannot be told.
    pairs : DataFrame
        The sharpest pairs that were not there before: a, b, distance, sharpness.
    classes : tuple of (sentence, images)
        Classes that are gone or new.
    detail : DataFrame or None
        Images that lost detail: image, lost (octaves), `detail_lost.COLUMNS` now, and before with `_before`; None where the previous
        audit did not measure it.
    paired : int
        Images that the previous audit had under the same path.
    """

    change: dict[str, Any]
    losses: pd.DataFrame
    sharpness: dict[str, Any] | None
    pairs: pd.DataFrame
    classes: tuple[tuple[str, tuple[int, ...]], ...]
    detail: pd.DataFrame | None = None
    paired: int = 0


# findings that compare with the previous audit, and their measures: a run with nothing new has none
KINDS = ("harder_to_learn", "sharper_labels", "classes_changed", "detail_lost")
MEASURES = ("predicted_log_loss_change_low", "label_sharpness_rise_low", "classes_changed", "detail_lost_share")
