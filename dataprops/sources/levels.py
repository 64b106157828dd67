"""Folder levels that are neither class nor split nor patient: numbered parts, sizes, versions, initial-letter folders."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from dataprops.sources.labels import words_of
from dataprops.sources.splitnames import FILLERS
from dataprops.sources.table import shown
from dataprops.sources.versions import AS_IT_WAS, DONE
from dataprops.util.names import word_table

PLAIN = re.compile(
    r"images?|imgs?|data|pictures|photos|jpe?gs?|pngs?|files|scans|jpegimages|originals?|raw", re.IGNORECASE
)
CHUNKS = FILLERS | frozenset(
    word_table("""
    part parts batch chunk shard block dir archive vol volume fold folds kfold v version site center centre
    hospital clinic institution scanner camera cohort
    """)
)
_PARTS = [[word] for word in ("part", "batch", "chunk", "shard", "block", "fold", "archive", "vol", "volume", "base")]
# of one dataset, each with all classes
VARIANTS = (DONE | AS_IT_WAS) - {"aligned", "unaligned", "uncropped", "normalized", "normalised", "denoised"}
SIZE = re.compile(r"\d{2,4} ?[xX] ?\d{2,4}(?: ?px)?")
ALIKE = 0.9
NAMED = 4  # names shown in a message


def inside_of(rests: list[list[str]]) -> dict[str, set[str]]:
    """Names of the subfolders of each top folder."""
    inside: dict[str, set[str]] = defaultdict(set)
    for rest in rests:
        if rest:
            inside[rest[0]].update(rest[1:2])
    return inside


def few_of(names: Iterable[str]) -> str:
    names = sorted(names)
    return ", ".join(shown(name) for name in names[:NAMED]) + (", ..." if len(names) > NAMED else "")


def is_chunk(name: str) -> bool:
    """Whether a folder name is that of a numbered part, such as images_001 or siteA."""
    words = words_of(name)
    if len(words) > 1 and not name[-1:].isdigit() and len(words[-1]) == 1:
        words.pop()
        return all(word in CHUNKS for word in words)
    return bool(words) and name[-1:].isdigit() and all(word in CHUNKS for word in words)


def are_parts(names: Iterable[str]) -> bool:
    """Whether all folders are numbered parts with a common prefix: ``HAM10000_images_part_1``."""
    stems = {re.sub(r"[-_ ]?\d+$", "", name) for name in names if name[-1:].isdigit()}
    return len(stems) == 1 and all(name[-1:].isdigit() for name in names) and words_of(min(stems))[-1:] in _PARTS


def without_parts(rests: list[list[str]], split: list[str | None]) -> list[list[str]]:
    """Drop the level of numbered parts (each with the same classes) of a split if another split has no classes:
    ``train/fold_0/a``, ``val/images``. Other folders are returned unchanged.
    """
    parts = {rest[0] for rest in rests if rest and is_chunk(rest[0])}
    others = [rest for rest in rests if rest and rest[0] not in parts]
    within = {told for told, rest in zip(split, rests, strict=True) if rest and rest[0] in parts}
    inside = inside_of(rests)
    shared = set.intersection(*(inside[part] for part in parts)) if parts else set()
    apart = all(told not in within for told, rest in zip(split, rests, strict=True) if rest and rest[0] not in parts)
    if len(parts) < 2 or len(shared) < 2 or not others or not apart or any(len(rest) > 1 for rest in others):
        return rests
    return [rest[1:] if rest and rest[0] in parts else [] for rest in rests]


def are_drawers(rests: list[list[str]]) -> bool:
    """Whether the top folders only group the next level by initial letters or digits: ``a/abbey``, ``p10/p10000032``."""
    rests = [rest for rest in rests if rest]  # ignore images of a split without folders
    if not all(len(rest) > 1 for rest in rests):
        return False
    letters = all(len(rest[0]) == 1 and rest[1][:1] == rest[0] and rest[1][1:2].isalpha() for rest in rests)
    numbers = all(
        re.fullmatch(r"[A-Za-z]?\d\d+", rest[0]) and rest[1].startswith(rest[0]) and rest[1][len(rest[0]) :].isdigit()
        for rest in rests
    )
    return bool(rests) and (letters or numbers)


def drawers_of_names(rests: list[list[str]], keys: Sequence[str]) -> int:
    """Number of top levels that only group files by the first characters of their names, ``0/a/3/0a3f9c.jpg``; 0 if just one,
    which may be chance.

    >>> drawers_of_names([["0", "a"], ["1", "f"]], ["0/a/0a7.png", "1/f/1f2.png"])
    2
    """
    levels = 0
    least = min(map(len, rests), default=0)
    while levels < least and all(
        len(rest[levels]) <= 2 and posixpath.basename(key).lower().startswith("".join(rest[: levels + 1]).lower())
        for rest, key in zip(rests, keys, strict=True)
    ):
        levels += 1
    return levels if levels > 1 else 0
