"""Protection of CSV cells against formula injection in spreadsheets."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
# characters that start a formula, their full-width forms, and characters skipped before them (OWASP, CSV injection)
_SIGNS = "[=+\\-@\\t\\r\\n\uff1d\uff0b\uff0d\uff20]"
_FORMULA = re.compile(f"'*{_SIGNS}")
_NEUTRAL = re.compile(f"'+{_SIGNS}")


def safe_cell(text: str) -> str:
    """Prefix text that a spreadsheet would evaluate with an apostrophe; numbers are unchanged. `plain_cell` undoes it.

    >>> safe_cell("=1+1"), safe_cell("@x"), safe_cell("-0.5"), safe_cell("scan.png")
    ("'=1+1", "'@x", '-0.5', 'scan.png')
    """
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def plain_cell(text: str) -> str:
    """Inverse of `safe_cell`.

    >>> plain_cell("'=1+1"), plain_cell("'quoted'")
    ('=1+1', "'quoted'")
    """
    return text[1:] if _NEUTRAL.match(text) else text
