"""A check: an expectation about one measure, with its message on failure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from dataprops.util.numbers import percent

SEVERITIES = ("info", "warning", "critical")


class Quantity(float):
    """A number in a message, with three format specs of its own besides Python's.

    Examples
    --------
    >>> f"{Quantity(1):pair is|pairs are}", f"{Quantity(1200):pair is|pairs are}"
    ('1 pair is', '1,200 pairs are')
    >>> f"{Quantity(0.5):share}", f"{Quantity(0.00312):share}"
    ('50 %', '0.31 %')
    >>> f"{Quantity(0.5):most}", f"{Quantity(1):most}"
    ('50 % of the', 'all')
    """

    def __format__(self, spec: str) -> str:
        if "|" in spec:
            one, many = spec.split("|")
            return f"1 {one}" if self == 1 else f"{float(self):,.0f} {many}"
        if spec == "most":
            return "all" if self == 1 else f"{percent(self)} of the"
        return percent(self) if spec == "share" else format(float(self), spec)


def first_sentence(detail: str) -> tuple[str, str]:
    """A finding's first sentence and the rest, split where a sentence ends with a closing bracket; without one, all and "".

    >>> first_sentence("The width predicts the class (chance: 50 %). By class: sick 512, well 256.")
    ('The width predicts the class (chance: 50 %).', 'By class: sick 512, well 256.')
    >>> first_sentence("One sentence, or none.")
    ('One sentence, or none.', '')
    """
    first, stop, rest = detail.partition("). ")
    return (f"{first}).", rest) if stop else (detail, "")


@dataclass(frozen=True, kw_only=True)
class Check:
    """A named expectation about one measure.

    Attributes
    ----------
    name, measure : str
    min, max : float or None
        Inclusive bounds of the measure.
    severity : str
        Severity of the alert if the check fails.
    title : str
        The expectation, for the list of checks.
    sentence : str
        Alert message, a format string. {value} and {threshold} are `Quantity`; if they are changes of a logarithm, {rise} and
        {rise_threshold} are the corresponding relative changes. Every measure is available by name, e.g. {n_images}. {subject}
        is the first sentence of the first finding among the evidence.
    subject : str
        Default for {subject} if there is no finding.
    kinds : tuple of str
        Findings that are the evidence; default for a check declared by a finding: that finding.
    reason : str
        Rationale for the threshold.
    """

    name: str
    measure: str
    min: float | None = None
    max: float | None = None
    severity: str
    title: str
    sentence: str
    subject: str = ""
    kinds: tuple[str, ...] = ()
    reason: str = ""

    def fails(self, value: float) -> bool:
        """Whether this value violates a bound; NaN never does."""
        return (self.max is not None and value > self.max) or (self.min is not None and value < self.min)

    def threshold(self, value: float) -> float:
        """The violated bound; if none is violated, `min`, else `max`; NaN without bounds."""
        broken_max = self.max is not None and (value > self.max or self.min is None)
        bound = self.max if broken_max else self.min
        return float("nan") if bound is None else bound

    def words(
        self, value: float, measures: Mapping[str, float] = MappingProxyType({}), subject: str | None = None
    ) -> str:
        """The alert message, with numbers filled in."""
        threshold = self.threshold(value)
        numbers: dict[str, Any] = {name: Quantity(number) for name, number in measures.items() if number is not None}
        numbers |= {"value": Quantity(value), "threshold": Quantity(threshold)}
        numbers |= {"rise": Quantity(_rise(value)), "rise_threshold": Quantity(_rise(threshold))}
        numbers["subject"] = first_sentence(subject or self.subject)[0].rstrip(".")
        return self.sentence.format_map(_Numbers(numbers))


class _Numbers(dict):
    """Values for a message; missing ones are NaN."""

    def __missing__(self, name: str) -> Quantity:
        return Quantity(float("nan"))


def _rise(log_change: float) -> float:
    return math.expm1(min(log_change, 700.0))
