"""Folders with versions of the same pictures: ``aligned`` beside ``original``, ``Augmented Images``, ``preprocessed_images``.

They are not classes, although they are top-level folders: their file names refer to the same pictures. Labels, splits and groups
from a table apply to all versions of a picture.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

import pandas as pd

from dataprops.sources.account import Decision, decide
from dataprops.sources.labels import words_of
from dataprops.util.names import stem_of, word_table

# processing words, and words for unprocessed
DONE = frozenset(
    word_table("""
    augmented augmentation aug processed preprocessed cropped resized segmented enhanced aligned normalized
    normalised denoised grayscale greyscale
    """)
)
AS_IT_WAS = frozenset(("original", "originals", "raw", "color", "colour", "unaligned", "uncropped"))
AROUND = frozenset(("image", "images", "img", "imgs", "data", "dataset", "set", "pictures", "photos", "files"))
SPLIT_WORDS = frozenset(("train", "training", "test", "testing", "val", "valid", "validation"))
SAME = 0.9  # minimum fraction of a folder's files whose names occur elsewhere
_DONE_AT_END = re.compile(rf"(?<=.)[-_ ](?:{'|'.join(sorted(DONE))})$", re.IGNORECASE)


def is_done(name: str) -> bool:
    """Whether a folder name consists of processing words, apart from split words.

    >>> is_done("preprocessed_images"), is_done("Augmented Images"), is_done("enhanced_tumor"), is_done("original")
    (True, True, False, False)
    >>> is_done("resized_train")
    True
    """
    return what_was_done(name) > 0


def what_was_done(name: str) -> int:
    """Number of processing words in a folder name; 0 if it contains any other word."""
    told = set(words_of(name)) - AROUND - SPLIT_WORDS
    return len(told) if told <= DONE else 0


def _is_plainly_done(name: str) -> bool:
    return is_done(name) and not SPLIT_WORDS & set(words_of(name))


def is_version(name: str) -> bool:
    """Whether a folder name consists only of words for processed or unprocessed pictures."""
    told = set(words_of(name)) - AROUND
    return bool(told) and told <= DONE | AS_IT_WAS


def stems(key: str) -> Iterator[str]:
    """File name without extension, then without its last one and two parts: ``M01_01`` of ``M01_01_00.jpg``."""
    name = stem_of(key)
    yield name
    for _ in range(2):
        cut = max(name.rfind(mark) for mark in "-_ ")
        if cut < 1:
            return
        name = name[:cut]
        yield name


def versions(keys: Sequence[str], folders: Sequence[Sequence[str]]) -> frozenset[str]:
    """Top-level folders that are versions of the same pictures; empty unless their file names agree.

    >>> sorted(versions(["aligned/1_aligned.jpg", "original/1.jpg"], [["aligned"], ["original"]]))
    ['aligned', 'original']
    """
    below: dict[str, list[str]] = defaultdict(list)
    for key, folder in zip(keys, folders, strict=True):
        below[folder[0] if folder else ""].append(key)
    parts = {frozenset(SPLIT_WORDS & set(words_of(top))) for top in below}
    done = (
        [top for top in below if is_done(top)] if len(parts) == 1 else [top for top in below if _is_plainly_done(top)]
    )
    found: set[str] = set()
    for top in done:
        others = {next(stems(key)) for other, some in below.items() if other != top for key in some}
        if sum(any(stem in others for stem in stems(key)) for key in below[top]) >= SAME * len(below[top]):
            found.add(top)
    plain = (top for top in below if is_version(top) or set() < set(words_of(top)) <= AROUND)
    return frozenset((*found, *plain)) if found else frozenset()


def class_of(name: str) -> str:
    """Class name without processing words.

    >>> class_of("Monkeypox_augmented"), class_of("augmented")
    ('Monkeypox', 'augmented')
    """
    return _DONE_AT_END.sub("", name)


def with_versions(table: pd.DataFrame) -> None:
    """Fill in labels, splits and groups of unlabelled images from other versions of the same picture in the same split."""
    if table["label"].notna().all() or table["label"].isna().all():
        return
    rows = list(zip(table["key"], table["label"], table["split"], table["group"], strict=True))
    known: dict[tuple[str | None, str], tuple[str | None, ...]] = {}
    for key, label, split, group in rows:
        if label is not None:
            known[(split, next(stems(key)))] = label, split, group
            known.setdefault((None, next(stems(key))), (label, split, group))
    found = {}
    for number, (key, label, split, _) in enumerate(rows):
        if label is None and any(map(is_done, key.split("/")[:-1])):
            told = next((known[split, stem] for stem in stems(key) if (split, stem) in known), None)
            found |= {number: told} if told is not None else {}
    if not found:
        return
    for place, column in enumerate(("label", "split", "group")):
        own = table[column].tolist()
        for number, told in found.items():
            own[number] = told[place] if own[number] is None else own[number]
        table[column] = pd.Series(own, dtype=object)
    why = f"{len(found):,} have the names of others that have one, in a folder named after processing"
    decide(table, Decision("labels", "of other versions of the same images", why, "--exclude"))
