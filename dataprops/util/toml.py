"""TOML texts of users, which may be anything: one error for whatever is wrong with them."""

from __future__ import annotations

import tomllib
from typing import Any


def toml_of(text: str) -> dict[str, Any]:
    """The tables of a text.

    Raises
    ------
    tomllib.TOMLDecodeError
        If it is no TOML, is nested too deeply, or holds a number that is too long.

    >>> toml_of("[conflicts]\\nmax = 2")
    {'conflicts': {'max': 2}}
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise tomllib.TOMLDecodeError("its values are nested too deeply") from None
    except ValueError:  # of int(): thousands of digits
        raise tomllib.TOMLDecodeError("a number has too many digits") from None
