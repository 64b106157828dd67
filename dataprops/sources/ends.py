"""Images by the ends of their paths, as tables and lists name them."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from dataprops.sources.resolve import folded
from dataprops.sources.versions import what_was_done

SHARED = 0.9  # share of the images whose names end in one word that tables may leave out


def stem_of(name: str) -> str:
    """The name of a file without its folders and its ending."""
    return posixpath.splitext(posixpath.basename(name))[0]


def without_zeros(name: str) -> str:
    """A number without the zeros before it, as tables have it: 7 for the file 007 or the folder 00007; other names as they are."""
    if not name.isdecimal():
        return name
    return (
        "".join(str(unicodedata.decimal(figure)) for figure in name).lstrip("0") or "0"
    )  # of any length, as `int` is not


def by_ends(keys: Sequence[str]) -> dict[str, str | None]:
    """Images by their paths, each end of these, and both without the ending; None where several are meant.

    Also by numbers without zeros, and without a word that ends the names of nearly all.
    """
    known: dict[str, str | None] = {}
    for key in keys:
        parts = folded(key).split("/")
        for first in range(len(parts)):
            end = "/".join(parts[first:])
            for name in (end, posixpath.splitext(end)[0]):
                known[name] = _one(known.get(name, key), key)
    padded: dict[str, str | None] = {}
    for key in keys:
        if (number := without_zeros(stem_of(key))) != stem_of(key):
            padded[number] = key if padded.get(number, key) == key else None
    short: dict[str, str | None] = {}
    for key, stem in _without_last_word(keys):
        short[stem] = key if short.get(stem, key) == key else None
    return _by_beginnings(keys) | short | padded | known


def _one(first: str | None, second: str) -> str | None:
    """Of two images called alike the one to which nothing was done, or less, if their folders say what was (`versions`)."""
    if first is None or first == second:
        return first
    done = [max(map(what_was_done, key.split("/")[:-1]), default=0) for key in (first, second)]
    return None if done[0] == done[1] else second if done[0] > done[1] else first


def _by_beginnings(keys: Sequence[str]) -> dict[str, str | None]:
    """Images by the first parts of their names, where each has one of its own: ``20586908_6c61_MG_R_CC.dcm``.

    >>> _by_beginnings(["2058_6c_L.dcm", "2059_6c_R.dcm"]), _by_beginnings(["2058_L.dcm", "2058_R.dcm"])
    ({'2058': '2058_6c_L.dcm', '2059': '2059_6c_R.dcm'}, {})
    """
    first = {key: found[1] for key in keys if (found := re.match(r"([a-z0-9]{4,})[-_.]", folded(stem_of(key))))}
    return {part: key for key, part in first.items()} if len(set(first.values())) == len(keys) > 1 else {}


def _without_last_word(keys: Sequence[str]) -> list[tuple[str, str]]:
    """Images and their names without the word that ends nearly all of them: ``test_0001`` of ``test_0001_aligned.jpg``.

    >>> _without_last_word(["1_aligned.jpg", "2_aligned.jpg"])
    [('1_aligned.jpg', '1'), ('2_aligned.jpg', '2')]
    """
    ends = [(key, found) for key in keys if (found := re.fullmatch(r"(.*\w)[-_.]([a-z]+)", folded(stem_of(key))))]
    word, number = Counter(found[2] for _, found in ends).most_common(1)[0] if ends else ("", 0)
    return [(key, found[1]) for key, found in ends if found[2] == word] if number >= SHARED * len(keys) else []
