"""Results of a fit: the whole, and each law in the form that predictions use."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dataprops.laws.fitting.table import TrainingTable


@dataclass(frozen=True)
class FittedLaw:
    """A fitted law in the form that predictions use; plain values, so that it can be stored.

    Attributes
    ----------
    law, form : str
        Key of `LAWS`; "free" or "fixed" slopes.
    slopes : dict of str to float
        Term -> slope.
    slope_low, slope_high : dict of str to float or None
        Ends of the slopes' 95 % intervals; the slope itself if fixed, None if there is no interval.
    intercepts : dict of str to float
        Family -> constant.
    residuals : dict of str to list of float
        Dataset -> leave-one-dataset-out residuals of its rows, measured - predicted, on the law's scale.
    ranges : dict of str to (float, float)
        Column -> smallest and largest fitted value.
    beats : bool or None
        Whether its leave-one-out error is below both baselines'; None if not measurable.
    clearly : bool or None
        Whether it beats them beyond dataset-sampling error. Only then are its predictions reported.
    verdict : str
        The comparison in words.
    """

    law: str
    form: str
    slopes: dict[str, float]
    slope_low: dict[str, float | None]
    slope_high: dict[str, float | None]
    intercepts: dict[str, float]
    residuals: dict[str, list[float]]
    ranges: dict[str, tuple[float, float]]
    beats: bool | None
    clearly: bool | None = None
    verdict: str = ""

    @property
    def intercept(self) -> float:
        """Mean intercept over families."""
        return float(np.mean(list(self.intercepts.values())))

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Fit:
    """The whole result of a fit.

    Attributes
    ----------
    points : TrainingTable
    result : dict
        Output of --json.
    lines : dict of str to FittedLaw
        Law -> its form (free or fixed slopes) with the smaller leave-one-out error.
    """

    points: TrainingTable
    result: dict[str, Any]
    lines: dict[str, FittedLaw]
