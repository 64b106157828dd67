"""Changes since the previous audit of the dataset, as input of findings."""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd


class Since(NamedTuple):
    """Changes since the previous audit.

    Attributes
    ----------
    change : dict
        Paired change of the probe's loss: value, low, high (log ratio), before, after (mean losses), expected (effect of the
        change in the number of images), or `withheld`.
    losses : DataFrame
        image, after (held-out loss), before (NaN: new), label_before (None: new).
    sharpness : dict or None
        Change of the label sharpness at equal M: before, after, value, low, high; None if not comparable.
    pairs : DataFrame
        New sharpest pairs: a, b, distance, sharpness.
    classes : tuple of (sentence, images)
        Classes removed or added.
    detail : DataFrame or None
        Images that lost detail: image, lost (octaves), `detail_lost.COLUMNS` now, and before with suffix `_before`; None if the
        previous audit did not measure it.
    paired : int
        Number of images with the same path in the previous audit.
    """

    change: dict[str, Any]
    losses: pd.DataFrame
    sharpness: dict[str, Any] | None
    pairs: pd.DataFrame
    classes: tuple[tuple[str, tuple[int, ...]], ...]
    detail: pd.DataFrame | None = None
    paired: int = 0


# findings that compare with the previous audit, and their measures: none in a run without changes
KINDS = ("harder_to_learn", "sharper_labels", "classes_changed", "detail_lost")
MEASURES = ("predicted_log_loss_change_low", "label_sharpness_rise_low", "classes_changed", "detail_lost_share")
