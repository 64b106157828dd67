"""Suggestions for misspelt names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """'did you mean size? ', or "" if no name is similar.

    >>> did_you_mean("sise", ["size", "scale"]), did_you_mean("xyz", ["size"])
    ('did you mean size? ', '')
    """
    near = difflib.get_close_matches(name, list(names), 1)
    return f"did you mean {near[0]}? " if near else ""
