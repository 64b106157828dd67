"""The table that every source returns: one row per image, with what is known before reading it."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from dataprops.errors import DatapropsError
from dataprops.options import ReadingOptions


@dataclass(frozen=True, kw_only=True)
class SourceOptions(ReadingOptions):
    """Reading options, and what the store adds.

    Attributes
    ----------
    salt : str
        Key for hashing ids, in hexadecimal; "": no hashes.
    """

    salt: str = ""


def given_rules(options: SourceOptions) -> dict[str, str]:
    """The rules as given, for any source: name -> value.

    >>> given_rules(SourceOptions(rules=("column=image", "plain")))
    {'column': 'image', 'plain': ''}
    """
    return {name: value for name, _, value in (rule.partition("=") for rule in options.rules)}


def chosen_rules(options: SourceOptions, known: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Value of each rule of a source: the given one, otherwise the default.

    Parameters
    ----------
    known : dict
        Name of a rule -> its values, the default first; () allows any text (default "").

    Raises
    ------
    DatapropsError
        If a rule or a value is unknown.

    >>> chosen_rules(SourceOptions(rules=("uncertain=positive",)), {"uncertain": ("negative", "positive")})
    {'uncertain': 'positive'}
    """
    chosen = {name: values[0] if values else "" for name, values in known.items()}
    for rule in options.rules:
        name, _, value = rule.partition("=")
        if name not in known:
            have = f"rules are {', '.join(known)}" if known else "it has none"
            raise DatapropsError(f"this source has no rule {name!r}: {have}")
        if known[name] and value not in known[name]:
            raise DatapropsError(f"the rule {name!r} is {value!r}; expected {', '.join(known[name])}")
        chosen[name] = value
    return chosen


def shown(key: str) -> str:
    r"""A key as printable text: bytes that are not UTF-8, control characters and line ends are escaped.

    Backslashes are escaped too, so that different keys are always shown differently.

    >>> shown("a\nb"), shown("a\\nb"), shown("caf\u00e9"), shown("caf\udce9")
    ('a\\nb', 'a\\\\nb', 'café', 'caf\\xe9')
    >>> shown("\u0085"), shown("\udc85"), key_of(shown("\u0085")) == "\u0085"
    ('\\u0085', '\\x85', True)
    """
    if key.isascii() and key.isprintable() and "\\" not in key:
        return key
    text = os.fsencode(key.replace("\\", "\\\\")).decode("utf-8", "backslashreplace")
    return "".join(_escape(c) if _is_control(c) else c for c in text)


def key_of(path: str) -> str:
    r"""Inverse of `shown`.

    >>> key_of("a\\nb"), key_of("a\\\\nb"), key_of("caf\\xe9") == "caf\udce9"
    ('a\nb', 'a\\nb', True)
    """
    if "\\" not in path:
        return path
    raw = re.sub(
        r"\\(\\|[nrt]|x[0-9a-f]{2}|u[0-9a-f]{4})",
        lambda match: match[0].encode("ascii").decode("unicode_escape") if match[1][0] != "x" else _byte(match[1]),
        path,
    )
    return os.fsdecode(os.fsencode(raw))


def _byte(escape: str) -> str:
    """'xe9' -> the surrogate for a byte that is not UTF-8, or the control character."""
    value = int(escape[1:], 16)
    return chr(value) if value < 0x80 else os.fsdecode(bytes([value]))


def _escape(control: str) -> str:
    r"""Escape a control character: ``\n``, ``\x1b``; ``\u008f`` if the short form denotes a byte that is not UTF-8."""
    value = ord(control)
    return f"\\u{value:04x}" if 0x80 <= value <= 0x9F else control.encode("unicode_escape").decode("ascii")


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Zl", "Zp")


def column_values(column: pa.ChunkedArray) -> list[Any]:
    """Values of a Parquet column; if any string is not UTF-8, all are returned as bytes, so that the valid ones can be used.

    >>> broken = pa.chunked_array([pa.array([b"caf\\xe9", None], pa.binary()).cast(pa.string(), safe=False)])
    >>> column_values(broken)
    [b'caf\\xe9', None]
    """
    if pa.types.is_dictionary(column.type):  # one Python object per distinct value
        chunks = [(column_values(pa.chunked_array([chunk.dictionary])), chunk.indices) for chunk in column.chunks]
        return [None if at is None else known[at] for known, indices in chunks for at in indices.to_pylist()]
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        return column.cast(pa.binary()).to_pylist()


class Said(dict[str, dict[str, "str | None"]]):
    """Values of the other columns: column -> key -> value. Copies of a table share it, because pandas deep-copies attributes."""

    def __deepcopy__(self, memo: object) -> Said:
        return self


def image_table(
    key: Sequence[str],
    label: Sequence[str | None],
    split: Sequence[str | None],
    group: Sequence[str | None],
    path: Sequence[str] | None = None,
) -> pd.DataFrame:
    """One row per image, sorted by the bytes of its path: key, path, label, split, group.

    Raises
    ------
    DatapropsError
        If two images have the same path.
    """
    paths = [shown(k) for k in key] if path is None else list(path)
    order = sorted(range(len(paths)), key=lambda i: os.fsencode(paths[i]))
    columns = {"key": key, "path": paths, "label": label, "split": split, "group": group}
    table = pd.DataFrame(
        {name: pd.Series([values[i] for i in order], dtype=object) for name, values in columns.items()}
    )
    twice = table["path"].duplicated()
    if twice.any():
        raise DatapropsError(f"two images have the same path {table['path'][twice].iloc[0]!r}: give each its own")
    return table
