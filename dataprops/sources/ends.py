"""Look up images by suffixes of their paths, as tables and lists name them."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from dataprops.imaging.formats import SURE
from dataprops.sources.resolve import folded, forward_slashes
from dataprops.sources.versions import what_was_done
from dataprops.util.names import ending_of, stem_of, without_ending

SHARED = 0.9  # least fraction of image names with the same last word for tables to omit it


def without_zeros(name: str) -> str:
    """Strip leading zeros from a number, as tables do (007 -> 7); other names are returned unchanged."""
    if not name.isdecimal():
        return name
    # not `int`, which limits the number of digits
    return "".join(str(unicodedata.decimal(figure)) for figure in name).lstrip("0") or "0"


def by_ends(keys: Sequence[str]) -> dict[str, str | None]:
    """Map each path and path suffix, with and without file suffix, to its image; None if ambiguous.

    Other keys are numbers without leading zeros, unique first parts of names, names without a last word that nearly all share, and
    names with blanks in place of other separators.
    """
    known: dict[str, str | None] = {}
    for key in keys:
        parts = folded(key).split("/")
        for first in range(len(parts)):
            end = "/".join(parts[first:])
            for name in (end, without_ending(end)):
                known[name] = _one(known.get(name, key), key)
    padded: dict[str, str | None] = {}
    for key in keys:
        if (number := without_zeros(stem_of(key))) != stem_of(key):
            padded[number] = key if padded.get(number, key) == key else None
    short = dict[str, str | None]()
    for key in keys:
        if (spaced := _spaced(stem_of(key))) is not None:
            short[spaced] = key if short.get(spaced, key) == key else None
    for key, stem in _without_last_word(keys):
        short[stem] = key if short.get(stem, key) == key else None
    return _by_beginnings(keys) | short | padded | known


def _spaced(name: str) -> str | None:
    """A name with blanks as separators, as tables may have it; None without separators."""
    spaced = re.sub(r"[\s_-]+", " ", folded(name)).strip()
    return spaced if " " in spaced else None


def _one(first: str | None, second: str) -> str | None:
    """Of two images with the same name, the less processed one if their folders tell (`versions`), else None."""
    if first is None or first == second:
        return first
    done = [max(map(what_was_done, key.split("/")[:-1]), default=0) for key in (first, second)]
    return None if done[0] == done[1] else second if done[0] > done[1] else first


def _by_beginnings(keys: Sequence[str]) -> dict[str, str | None]:
    """Map the first part of each name (``20586908_6c61_MG_R_CC.dcm``) to its image, if these are all distinct.

    >>> _by_beginnings(["2058_6c_L.dcm", "2059_6c_R.dcm"]), _by_beginnings(["2058_L.dcm", "2058_R.dcm"])
    ({'2058': '2058_6c_L.dcm', '2059': '2059_6c_R.dcm'}, {})
    """
    first = {key: found[1] for key in keys if (found := re.match(r"([a-z0-9]{4,})[-_.]", folded(stem_of(key))))}
    return {part: key for key, part in first.items()} if len(set(first.values())) == len(keys) > 1 else {}


def _without_last_word(keys: Sequence[str]) -> list[tuple[str, str]]:
    """Images and their names without the last word that nearly all share: ``test_0001`` of ``test_0001_aligned.jpg``.

    >>> _without_last_word(["1_aligned.jpg", "2_aligned.jpg"])
    [('1_aligned.jpg', '1'), ('2_aligned.jpg', '2')]
    """
    ends = [(key, found) for key in keys if (found := re.fullmatch(r"(.*\w)[-_.]([a-z]+)", folded(stem_of(key))))]
    word, number = Counter(found[2] for _, found in ends).most_common(1)[0] if ends else ("", 0)
    return [(key, found[1]) for key, found in ends if found[2] == word] if number >= SHARED * len(keys) else []


def image_of(path: str, known: Mapping[str, str | None]) -> str | None:
    """The image that a path of a table refers to: the longest suffix of it that identifies one image.

    Parameters
    ----------
    known : mapping
        As `by_ends` returns it.

    >>> known = {"a/1.png": "a/1.png", "a/1": "a/1.png", "1.png": None}
    >>> image_of("C:\\\\x\\\\a\\\\1.png", known), image_of("a/1.jpg", known), image_of("1.png", known)
    ('a/1.png', 'a/1.png', None)
    """
    text = folded(forward_slashes(path)).strip("/")
    while text:
        for one in (text, without_ending(text)) if ending_of(text) in SURE else (text,):
            if one in known:
                return known[one]
        text = text.partition("/")[2]
    folder, mark, name = folded(forward_slashes(path)).rpartition("_")
    if mark and "/" not in folder:  # 000001_01_01_109.png
        return image_of(f"{folder}/{name}", known)
    spaced = None if "_" in path else _spaced(stem_of(path) if ending_of(path) in SURE else posixpath.basename(path))
    return None if spaced is None else known.get(spaced)


def beginning_of(name: str, known: Collection[str]) -> str:
    """The longest beginning of a name, up to a separator, that is known: TCGA_CS_4941 of TCGA_CS_4941_19960909; "" without one."""
    while name and name not in known:
        cut = max(name.rfind(mark) for mark in "_-.")
        name = name[:cut] if cut > 0 else ""
    return name
