"""Thresholds of the checks: the defaults of thresholds.toml, and a user's TOML file over them, key by key."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dataprops.errors import DatapropsError
from dataprops.util.numbers import percent

SEVERITIES = ("info", "warning", "critical")


class Quantity(float):
    """A number in a sentence; beside Python's formats it knows two of its own.

    Examples
    --------
    >>> f"{Quantity(1):pair is|pairs are}", f"{Quantity(1200):pair is|pairs are}"
    ('1 pair is', '1,200 pairs are')
    >>> f"{Quantity(0.5):share}", f"{Quantity(0.00312):share}"
    ('50 %', '0.31 %')
    """

    def __format__(self, spec: str) -> str:
        if "|" in spec:
            one, many = spec.split("|")
            return f"1 {one}" if self == 1 else f"{float(self):,.0f} {many}"
        return percent(self) if spec == "share" else format(float(self), spec)


@dataclass(frozen=True)
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
    kinds : tuple of str
        Kinds of findings that are the evidence.
    """

    name: str
    measure: str
    min: float | None
    max: float | None
    severity: str
    title: str
    sentence: str
    kinds: tuple[str, ...] = ()

    def fails(self, value: float) -> bool:
        """Whether this value of the measure breaks the expectation; NaN is no value, and breaks none."""
        return (self.max is not None and value > self.max) or (self.min is not None and value < self.min)

    def threshold(self, value: float) -> float:
        """The bound that this value breaks, or else the one there is."""
        broken_max = self.max is not None and (value > self.max or self.min is None)
        bound = self.max if broken_max else self.min
        return float("nan") if bound is None else bound

    def words(self, value: float, measures: Mapping[str, float] = MappingProxyType({})) -> str:
        """What is wrong, with the numbers filled in."""
        threshold = self.threshold(value)
        numbers = {name: Quantity(number) for name, number in measures.items() if number is not None}
        numbers |= {"value": Quantity(value), "threshold": Quantity(threshold)}
        numbers |= {"rise": Quantity(_rise(value)), "rise_threshold": Quantity(_rise(threshold))}
        return self.sentence.format_map(numbers)


def _rise(log_change: float) -> float:
    return math.expm1(min(log_change, 700.0))


def load_thresholds(path: str | Path | None = None) -> tuple[Check, ...]:
    """The checks, with a user's file over the defaults; disabled ones left out.

    Parameters
    ----------
    path : str or Path, optional
        TOML file: a table for each check to change, with any of `min`, `max`, `severity`, `enabled`.

    Raises
    ------
    DatapropsError
        If the file cannot be read, or names an unknown check, key or value.
    """
    table = tomllib.loads((files("dataprops.checks") / "thresholds.toml").read_text(encoding="utf-8"))
    if path is not None:
        for name, keys in _user_table(Path(path), table).items():
            table[name] = {**table[name], **keys}
            low, high = table[name].get("min"), table[name].get("max")
            if low is not None and high is not None and low > high:
                raise DatapropsError(f"{path}: [{name}] has min = {low} above max = {high}: no value would pass")
    return tuple(_check(name, row) for name, row in table.items() if row.get("enabled", True))


def _check(name: str, row: dict[str, Any]) -> Check:
    low, high = row.get("min"), row.get("max")
    return Check(
        name,
        row["measure"],
        None if low is None else float(low),
        None if high is None else float(high),
        row["severity"],
        row["title"],
        row["sentence"],
        tuple(row.get("kinds", ())),
    )


def _near(name: str, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(names), 1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else f" (there are {', '.join(names)})"


def _near_check(name: str, defaults: Mapping[str, Mapping[str, Any]]) -> str:
    """The check that was meant: by its name, or by the measure it looks at."""
    by_measure = {row["measure"]: check for check, row in reversed(defaults.items())}
    if name in by_measure:
        return f" (did you mean {by_measure[name]!r}? {name!r} is the measure it looks at)"
    return _near(name, defaults)


def _user_table(path: Path, defaults: dict[str, Any]) -> dict[str, dict[str, Any]]:
    try:
        given = tomllib.loads(
            path.read_text(encoding="utf-8-sig")
        )  # some editors put a mark before the first character
    except OSError as error:
        raise DatapropsError(
            f"the thresholds file {path} cannot be read: {error.strerror or type(error).__name__}"
        ) from error
    except UnicodeDecodeError as error:
        raise DatapropsError(f"the thresholds file {path} is no UTF-8 text (byte {error.start})") from error
    except tomllib.TOMLDecodeError as error:
        raise DatapropsError(f"the thresholds file {path} is no TOML: {error}") from error
    for name, keys in given.items():
        if name not in defaults and name in KEYS:
            raise DatapropsError(
                f"{path}: {name} stands outside of a check: put it below the name of one, as [conflicts]"
            )
        if name not in defaults:
            raise DatapropsError(f"{path}: unknown check {name!r}{_near_check(name, defaults)}")
        if not isinstance(keys, dict):
            raise DatapropsError(f"{path}: {name} must be a table: write [{name}] and its keys below")
        for key, value in keys.items():
            if key not in KEYS:
                raise DatapropsError(f"{path}: [{name}] has an unknown key {key!r}{_near(key, KEYS)}")
            wanted = KEYS[key](value)
            if wanted:
                raise DatapropsError(f"{path}: [{name}] {key} = {value!r}, wanted: {wanted}")
    return given


def _no_number(value: Any) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
    return "" if number else "a number"


def _no_severity(value: Any) -> str:
    if value in SEVERITIES:
        return ""
    close = difflib.get_close_matches(str(value), SEVERITIES, 1)
    return ", ".join(SEVERITIES) + (f" (did you mean {close[0]!r}?)" if close else "")


def _no_switch(value: Any) -> str:
    return "" if isinstance(value, bool) else "true or false"


# what a user may set, each with a function: value -> what is wanted instead, "" if the value will do
KEYS: dict[str, Callable[[Any], str]] = {
    "min": _no_number,
    "max": _no_number,
    "severity": _no_severity,
    "enabled": _no_switch,
}
