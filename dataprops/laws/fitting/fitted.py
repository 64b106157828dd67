"""What a fit gives: all of it, and each law as predictions need it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dataprops.laws.fitting.table import TrainingTable


@dataclass(frozen=True)
class FittedLaw:
    """A fitted law as predictions need it; plain values, so that a store can keep it.

    Attributes
    ----------
    law, form : str
        Key of `LAWS`; "free" or "fixed" slopes.
    slopes : dict of str to float
        Term -> slope.
    slope_low, slope_high : dict of str to float or None
        Ends of the slopes' 95 % intervals; the slope itself where it is fixed, None where there is no interval.
    intercepts : dict of str to float
        Family -> constant.
    residuals : dict of str to list of float
        Dataset -> what a fit to all others missed its rows by, measured less predicted, on the law's scale.
    ranges : dict of str to (float, float)
        Column -> least and largest value fitted to.
    beats : bool or None
        Whether its left-out error is below both baselines'; None if that could not be measured.
    clearly : bool or None
        Whether it is so by more than the choice of datasets may bring. Only then is its number told.
    verdict : str
        What the left-out errors are, in words.
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
        """Of the average network."""
        return float(np.mean(list(self.intercepts.values())))

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Fit:
    """All of a fit.

    Attributes
    ----------
    points : TrainingTable
    result : dict
        What --json prints.
    lines : dict of str to FittedLaw
        Law -> the form of it with the smaller left-out error.
    """

    points: TrainingTable
    result: dict[str, Any]
    lines: dict[str, FittedLaw]
