"""A predicted number with its interval, or the reason why it is withheld."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

LEVEL = 0.95


@dataclass(frozen=True)
class Prediction:
    """A predicted number with its interval, or the reason why it is withheld.

    Attributes
    ----------
    name : str
    value, low, high : float or None
        The prediction and its 95 % interval (or at `level`); None if withheld.
    unit : str
    basis : str
        What it rests on, and what was assumed.
    sentence : str
        In words.
    withheld : str or None
        The reason, and the way to get the prediction.
    significant : bool or None
        Whether the interval excludes 0; None where it does not apply.
    level : float or None
        Of the interval, where it is not 95 %.
    calibration : str or None
        The table of trained networks that it rests on: `PAPER`, or the id of one in the store.
    score : dict or None
        What it was worth on sources left out, where that was measured: rmse (log scale), factor, baseline_rmse (log N alone),
        gain {value, low, high}, coverage, sources, networks, here {coverage, networks}: of those predicted about as much.
    unused : str or None
        Why the store's own calibration is not what it rests on; None where it is, or where there is none.
    """

    name: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    basis: str = ""
    sentence: str = ""
    withheld: str | None = None
    significant: bool | None = None
    level: float | None = None
    calibration: str | None = None
    score: dict[str, Any] | None = None
    unused: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def student(degrees: float, level: float = LEVEL) -> float:
    """Two-sided critical value of Student's t at this level."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + level) / 2))
