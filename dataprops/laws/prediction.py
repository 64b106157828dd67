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
        Data, method and assumptions behind it.
    sentence : str
        The prediction in words.
    withheld : str or None
        The reason, and how to obtain the prediction.
    significant : bool or None
        Whether the interval excludes 0; None where not applicable.
    level : float or None
        Level of the interval, if not 95 %.
    calibration : str or None
        The calibration used: `PAPER`, or the id of one in the store.
    score : dict or None
        Accuracy on held-out sources, where measured: rmse (log scale), factor, baseline_rmse (log N alone), gain {value, low,
        high}, coverage, sources, networks, here {coverage, networks} (networks with predictions of similar size).
    unused : str or None
        Why the store's own calibration was not used; None if it was, or there is none.
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
