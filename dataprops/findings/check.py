"""A check: an expectation about one measure, with the words for when it fails."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from dataprops.util.numbers import percent

SEVERITIES = ("info", "warning", "critical")


class Quantity(float):
    """A number in a sentence; beside Python's formats it knows three of its own.

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
    """What a finding says, and what it adds to that after a sentence that ends in brackets.

    >>> first_sentence("The width tells the class (chance: 50 %). By class: sick 512, well 256.")
    ('The width tells the class (chance: 50 %).', 'By class: sick 512, well 256.')
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
        The measure must not be below, above.
    severity : str
        Of the alert when it fails.
    title : str
        What is expected, for the list of checks.
    sentence : str
        What is wrong. {value} and {threshold} are `Quantity`; {rise} and {rise_threshold} are the same two where they
        are changes of a logarithm, as changes of the number itself; so is every measure by its name, as {n_images}.
        {subject} is the first sentence of the first finding that is the evidence.
    subject : str
        What stands for {subject} where there is no finding.
    kinds : tuple of str
        Findings that are the evidence; a check that a finding brings: that finding.
    reason : str
        Why the threshold is what it is.
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
        """Whether this value of the measure breaks the expectation; NaN is no value, and breaks none."""
        return (self.max is not None and value > self.max) or (self.min is not None and value < self.min)

    def threshold(self, value: float) -> float:
        """The bound that this value breaks, or else the one there is."""
        broken_max = self.max is not None and (value > self.max or self.min is None)
        bound = self.max if broken_max else self.min
        return float("nan") if bound is None else bound

    def words(
        self, value: float, measures: Mapping[str, float] = MappingProxyType({}), subject: str | None = None
    ) -> str:
        """What is wrong, with the numbers filled in."""
        threshold = self.threshold(value)
        numbers: dict[str, Any] = {name: Quantity(number) for name, number in measures.items() if number is not None}
        numbers |= {"value": Quantity(value), "threshold": Quantity(threshold)}
        numbers |= {"rise": Quantity(_rise(value)), "rise_threshold": Quantity(_rise(threshold))}
        numbers["subject"] = first_sentence(subject or self.subject)[0].rstrip(".")
        return self.sentence.format_map(_Numbers(numbers))


class _Numbers(dict):
    """Numbers of a sentence; one that stands beside the measure and is not known is NaN."""

    def __missing__(self, name: str) -> Quantity:
        return Quantity(float("nan"))


def _rise(log_change: float) -> float:
    return math.expm1(min(log_change, 700.0))
