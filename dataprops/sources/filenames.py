"""Splits from file names if all begin with one; possible classes in file names, which are only reported."""

from __future__ import annotations

import posixpath
import re
from collections import Counter

from dataprops.sources.account import Decision
from dataprops.sources.doubts import PERSONS_AND_PARTS
from dataprops.sources.labels import words_of
from dataprops.sources.levels import few_of
from dataprops.sources.splitnames import split_of
from dataprops.sources.table import shown
from dataprops.util.names import stem_of

WORDS = "[A-Za-z]+(?:[-_ ][A-Za-z]+)*"
FEW_NAMES = 200  # largest number of distinct first words of file names that may be classes
LEAST_FIELDS, MOST_SHOWN = 3, 3  # least number of parts of a name; parts shown in a decision
MOST_NAMES = 0.9  # least fraction of the names with the same number of parts
LEAST_FORM = 0.05  # least fraction of the names for each form
MOST_ENDS = 5  # largest number of classes at the end, in a part or by the form of file names


def splits_of_names(keys: list[str]) -> tuple[list[str | None], tuple[Decision, ...]]:
    """Splits from file names, if all begin with one: ``train_00001.jpg`` and ``test_00001.jpg``."""
    words = [re.match(r"([A-Za-z]+)[-_ ]", posixpath.basename(key)) for key in keys]
    split = [None if word is None else _split_in(word[1]) for word in words]
    count = Counter(split)
    if None in count or len(count) < 2 or min(count.values()) < 2:
        return [None] * len(keys), ()
    value = ", ".join(f"{name} {number:,}" for name, number in count.items())
    return split, (Decision("splits", value, "all file names begin with one", "--layout"),)


def _split_in(word: str) -> str | None:
    """The split that a word names, optionally with a capital letter appended: ``testA``."""
    return split_of(word) or split_of(re.sub(r"(?<=[a-z])[A-Z]$", "", word))


def remarks_on_names(keys: list[str]) -> tuple[Decision, ...]:
    """A remark on possible classes in file names, for images without class folders: ``cat.0.jpg``, ``dog.1.jpg``."""
    words = [re.match(WORDS, posixpath.basename(key)) for key in keys]
    count = Counter(word[0] for word in words if word)
    if not 1 < len(count) <= min(FEW_NAMES, len(keys) / 2) or count.total() < len(keys) / 2 or min(count.values()) < 2:
        return _ending_alike(keys)
    names = sorted(count, key=lambda name: -count[name])
    shown_names = ", ".join(f"{name} {count[name]:,}" for name in names[:4]) + (", ..." if len(names) > 4 else "")
    if all(_split_in(name) for name in names):  # see splits_of_names
        return ()
    word = "[A-Za-z]+" if all(name.isalpha() for name in names) else WORDS
    return _remark(f"file names begin with {shown_names}", f"({word})[^/]*$")


def _remark(why: str, pattern: str) -> tuple[Decision, ...]:
    return (Decision("classes", "none", f"no class folders; {why}", f"--label-pattern '{pattern}'"),)


def _ending_alike(keys: list[str]) -> tuple[Decision, ...]:
    """A remark on possible classes at the end of file names: ``CHNCXR_0001_0.png``, ``17_G.png``, ``31-5001-[1, 0, 0].png``."""
    ends = [re.fullmatch(r"(.+)[-_]([^-_./]+)[.][^./]*", key) for key in keys]
    bases = {end[1] for end in ends if end}
    count = Counter(end[2] for end in ends if end)
    few = 1 < len(count) <= MOST_ENDS and min(count.values()) > 1 and not all(map(_split_in, count))
    if len(bases) < len(keys) or not few:  # not a_0 beside a_1
        return _fields(keys)
    named = ", ".join(f"{shown(end)} {number:,}" for end, number in sorted(count.items()))
    return _remark(f"file names end with {named}", "[-_]([^-_./]+)[.][^./]*$")


def _beginning_alike(keys: list[str]) -> tuple[Decision, ...]:
    """A remark on file names that begin with the same few ids, which may be classes: ``obj1__0.png``, ``0001_1.jpg``.

    Those of persons and parts (``video01_25.jpg``) are left to the proposal of a group pattern.
    """
    words = [found for key in keys if (found := re.match(r"([A-Za-z]*)\d+(?=[-_])", posixpath.basename(key)))]
    count = Counter(word[0] for word in words)
    known = {part for word in words for part in words_of(word[1])} & PERSONS_AND_PARTS
    if len(words) < len(keys) or known or not 1 < len(count) <= len(keys) / MOST_ENDS:
        return ()
    if min(count.values()) < LEAST_FIELDS:
        return ()
    why = f"file names begin with {len(count):,} ids of classes or patients: {few_of(count)}"
    return _remark(why, r"([A-Za-z]*\d+)[-_][^/]*$")


def _fields(keys: list[str]) -> tuple[Decision, ...]:
    """A remark on possible classes in a part of file names: ``26_1_0_20170116.jpg``, where the second is 0 or 1."""
    names = [posixpath.basename(key).partition(".")[0].split("_") for key in keys]
    number = len(names[0])
    if number < LEAST_FIELDS or sum(len(name) == number for name in names) < MOST_NAMES * len(names):
        return _forms(keys) or _beginning_alike(keys)
    names = [name for name in names if len(name) == number]
    counts = [Counter(name[part] for name in names) for part in range(number)]
    few = [part for part in range(number) if 1 < len(counts[part]) <= MOST_ENDS and min(counts[part].values()) > 1]
    if not few or len(names) < LEAST_FIELDS * MOST_ENDS:
        return _beginning_alike(keys)
    seen = "; ".join(
        f"part {part + 1}: {', '.join(f'{shown(value)} {count:,}' for value, count in sorted(counts[part].items()))}"
        for part in few[:MOST_SHOWN]
    )
    pattern = "(?:^|/)" + "[^/_]*_" * few[0] + "([^/_.]*)" + ("_" if few[0] + 1 < number else "[.]") + "[^/]*$"
    return _remark(f"file names have {number} parts with few values in some ({seen})", pattern)


def _forms(keys: list[str]) -> tuple[Decision, ...]:
    """A remark on file names of a few forms that differ in a word: ``Im001_ACRIMA.jpg`` and ``Im310_g_ACRIMA.jpg``."""
    stems = [stem_of(key) for key in keys]
    count = Counter(re.sub(r"\d+", "0", stem) for stem in stems)
    if not 1 < len(count) <= MOST_ENDS or min(count.values()) < max(2, LEAST_FORM * len(keys)):
        return ()
    for pattern, place in ((r"([^0-9/]*)[.][^./]*$", "end"), (r"(?:^|/)([^0-9/]*)[^/]*$", "begin")):
        words = Counter(found[1] for key in keys if (found := re.search(pattern, key)))
        if len(words) == len(count) and "" not in words:
            seen = ", ".join(f"{shown(word)} {number:,}" for word, number in sorted(words.items()))
            return _remark(f"file names {place} with {seen}", pattern)
    return ()
