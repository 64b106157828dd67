"""Thresholds of the checks: defaults, overridden key by key by a user's TOML file."""

from __future__ import annotations

import math
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from annotated_types import Interval

from dataprops.checks.defaults import default_checks
from dataprops.errors import DatapropsError
from dataprops.findings.check import SEVERITIES, Check, Quantity
from dataprops.util.guard import reason_of
from dataprops.util.nearest import did_you_mean
from dataprops.util.toml import text_of, toml_of
from dataprops.util.validation import OptionError, check_values

Bound = Annotated[float, Interval(ge=-math.inf, le=math.inf)]  # any number except NaN
__all__ = ["SEVERITIES", "Check", "Quantity", "load_thresholds"]


class UserCheck(NamedTuple):
    """The settings of a check that a user can override."""

    min: Bound
    max: Bound
    severity: Literal["info", "warning", "critical"]
    enabled: bool


KEYS = UserCheck._fields


def load_thresholds(path: str | Path | None = None) -> tuple[Check, ...]:
    """The enabled checks, with a user's overrides.

    Parameters
    ----------
    path : str or Path, optional
        TOML file with a table per overridden check: any of `min`, `max`, `severity`, `enabled`.

    Raises
    ------
    DatapropsError
        If the file cannot be read, or has an unknown check or key or an invalid value.
    """
    checks = {check.name: check for check in default_checks()}
    given = {} if path is None else _user_table(Path(path), checks)
    for name, keys in given.items():
        bounds = {key: float(value) for key, value in keys.items() if key in ("min", "max")}
        checks[name] = check = replace(checks[name], **{k: v for k, v in keys.items() if k == "severity"}, **bounds)
        if check.min is not None and check.max is not None and check.min > check.max:
            raise DatapropsError(f"{path}: [{name}] has min = {check.min} above max = {check.max}: no value would pass")
    return tuple(check for name, check in checks.items() if given.get(name, {}).get("enabled", True))


def _near_check(name: str, defaults: dict[str, Check]) -> str:
    """Suggest the intended check, by name or by measure."""
    by_measure = {check.measure: name for name, check in reversed(defaults.items())}
    if name in by_measure:
        return f"did you mean {by_measure[name]}? {name!r} is its measure"
    return did_you_mean(name, defaults).strip() or f"valid: {', '.join(defaults)}"


def _user_table(path: Path, defaults: dict[str, Check]) -> dict[str, dict[str, Any]]:
    try:
        given = toml_of(text_of(path))
    except OSError as error:
        raise DatapropsError(f"the thresholds file {path} cannot be read: {reason_of(error)}") from error
    except UnicodeDecodeError as error:
        raise DatapropsError(f"the thresholds file {path} is not valid UTF-8 (byte {error.start})") from error
    except tomllib.TOMLDecodeError as error:
        raise DatapropsError(f"the thresholds file {path} is not valid TOML: {error}") from error
    for name, keys in given.items():
        if name not in defaults and name in KEYS:
            raise DatapropsError(
                f"{path}: {name} is outside a check's table: put it below a header such as [conflicts]"
            )
        if name not in defaults:
            raise DatapropsError(f"{path}: unknown check {name!r}: {_near_check(name, defaults)}")
        if not isinstance(keys, dict):
            raise DatapropsError(f"{path}: {name} must be a table: write [{name}] with its keys below")
        try:
            check_values(UserCheck, keys)
        except OptionError as error:
            key, value = error.option, keys[error.option]
            if not error.expected:
                raise DatapropsError(
                    f"{path}: [{name}] has an unknown key {key!r}: {did_you_mean(key, KEYS)}valid: {', '.join(KEYS)}"
                ) from None
            hint = did_you_mean(str(value), SEVERITIES).strip() if key == "severity" else ""
            raise DatapropsError(
                f"{path}: [{name}] {key} = {value!r}, expected {error.expected}{f': {hint}' if hint else ''}"
            ) from None
    return given
