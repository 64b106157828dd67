r"""Safe display of names and labels: invisible and control characters are escaped."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# control characters, line breaks, zero-width characters, bidirectional marks
HIDDEN = re.compile(
    "[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u2069\u3164\ufeff"
    "\uffa0\ufff9-\ufffb]"
)


def visible(text: Any) -> str:
    r"""Text with invisible characters shown as escapes.

    >>> visible("scan\u202egnp.exe"), visible("a\nb")
    ('scan\\u202egnp.exe', 'a\\u000ab')
    >>> visible("a\u061cb"), visible("a\u3164"), visible("a\u00ad")  # a mark of direction; nothing, of Hangul; a soft hyphen
    ('a\\u061cb', 'a\\u3164', 'a\\u00ad')
    """
    return HIDDEN.sub(lambda match: f"\\u{ord(match[0]):04x}", str(text))


def in_words(detail: str) -> str:
    """A finding's detail, with the name of an image fault at its beginning in words.

    >>> in_words("low_contrast: “a_b.png” uses 9 grey levels"), in_words("dark: “a_b.png”")
    ('low contrast: “a_b.png” uses 9 grey levels', 'dark: “a_b.png”')
    """
    return re.sub(r"^[a-z]+(?:_[a-z]+)+(?=:)", lambda name: name[0].replace("_", " "), detail)


def all_visible(value: Any) -> Any:
    r"""Plain values, with `visible` applied to every string.

    >>> all_visible({"a\x1b": ["b\n", 1]})
    {'a\\u001b': ['b\\u000a', 1]}
    """
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {all_visible(key): all_visible(part) for key, part in value.items()}
    return [all_visible(part) for part in value] if isinstance(value, list | tuple) else value
