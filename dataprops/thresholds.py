"""Thresholds of the checks: the defaults, and a user's TOML file over them."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from dataprops.errors import DatapropsError

SEVERITIES = ("info", "warning", "critical")
USER_KEYS = ("min", "max", "severity", "enabled")


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
        What is wrong, with {value} and {threshold}.
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
        """Whether this value of the measure breaks the expectation."""
        return (self.max is not None and value > self.max) or (self.min is not None and value < self.min)

    def threshold(self, value: float) -> float:
        """The bound that this value breaks, or else the one there is."""
        broken_max = self.max is not None and (value > self.max or self.min is None)
        bound = self.max if broken_max else self.min
        return float("nan") if bound is None else bound


def load_thresholds(path: str | Path | None = None) -> tuple[Check, ...]:
    """The checks, with a user's file over the defaults.

    Raises
    ------
    DatapropsError
        If the file cannot be read, or names an unknown check, key or value.
    """
    table = tomllib.loads((files("dataprops") / "thresholds.toml").read_text(encoding="utf-8"))
    if path is not None:
        for name, keys in _user_table(Path(path), table).items():
            table[name] = {**table[name], **keys}
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


def _near(name: str, names: Any) -> str:
    close = difflib.get_close_matches(name, names, 1)
    return f" (did you mean {close[0]!r}?)" if close else f" (there are {', '.join(names)})"


def _user_table(path: Path, defaults: dict[str, Any]) -> dict[str, dict[str, Any]]:
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DatapropsError(f"the thresholds file {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DatapropsError(f"the thresholds file {path} is no TOML: {error}") from error
    for name, keys in given.items():
        if name not in defaults:
            raise DatapropsError(f"{path}: unknown check {name!r}{_near(name, list(defaults))}")
        if not isinstance(keys, dict):
            raise DatapropsError(f"{path}: {name} must be a table: write [{name}] and its keys below")
        for key, value in keys.items():
            if key not in USER_KEYS:
                raise DatapropsError(f"{path}: [{name}] has an unknown key {key!r}{_near(key, USER_KEYS)}")
            _check_value(f"{path}: [{name}] {key}", key, value)
    return given


def _check_value(where: str, key: str, value: Any) -> None:
    if key in ("min", "max") and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise DatapropsError(f"{where} = {value!r}, wanted: a number")
    if key == "enabled" and not isinstance(value, bool):
        raise DatapropsError(f"{where} = {value!r}, wanted: true or false")
    if key == "severity" and value not in SEVERITIES:
        raise DatapropsError(f"{where} = {value!r}, wanted: {', '.join(SEVERITIES)}")
