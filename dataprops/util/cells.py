"""Text in the cells of a CSV file, which a spreadsheet takes for a formula if it begins like one."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
# signs that a spreadsheet computes from, their full-width forms, and what it skips before them (OWASP, CSV injection)
_SIGNS = "[=+\\-@\\t\\r\\n\uff1d\uff0b\uff0d\uff20]"
_FORMULA = re.compile(f"'*{_SIGNS}")
_NEUTRAL = re.compile(f"'+{_SIGNS}")


def safe_cell(text: str) -> str:
    """The text, with an apostrophe in front where a spreadsheet would evaluate it; numbers stay. `plain_cell` undoes it.

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
