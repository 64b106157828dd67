"""Parse untrusted TOML, with one error type for everything that can be wrong."""

from __future__ import annotations

import errno
import re
import tomllib
from pathlib import Path
from typing import Any

from dataprops.util.budget import read_whole

MOST_BYTES = 2**20  # maximum file size
# parsing time of a dotted key is quadratic in its parts
_MANY_PARTS = re.compile(r"""(?:(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){64}""")
_MANY_DIGITS = re.compile(r"[0-9_]{1000}")


def text_of(path: Path) -> str:
    """The text of a file, without a byte order mark.

    Raises
    ------
    OSError
        If it cannot be read, or has more than `MOST_BYTES`.
    UnicodeDecodeError
        If it is not UTF-8.
    """
    if path.is_file() and path.stat().st_size > MOST_BYTES:
        raise OSError(errno.EFBIG, f"it has {path.stat().st_size:,} bytes, more than {MOST_BYTES:,}")
    return read_whole(path, MOST_BYTES).decode("utf-8-sig")


def toml_of(text: str) -> dict[str, Any]:
    """Parse a TOML text.

    Raises
    ------
    tomllib.TOMLDecodeError
        If it is not valid TOML, is nested too deeply, or has a number or key that is too long.

    >>> toml_of("[conflicts]\\nmax = 2")
    {'conflicts': {'max': 2}}
    """
    if _MANY_DIGITS.search(text):
        raise tomllib.TOMLDecodeError("a number has too many digits")
    if _MANY_PARTS.search(text):
        raise tomllib.TOMLDecodeError("a key has more than 64 parts")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise tomllib.TOMLDecodeError("its values are nested too deeply") from None
