"""Splits from lists beside the images: ``train_val_list.txt`` and ``test_list.txt``, ``meta/train.txt``, ``ImageSets/Main``,
``train.csv`` and ``test.csv``.

Lists are used if nearly all lines of each name an image (by path, by the end of the path, or without extension) and if they cover
at least two splits. Other files named after splits are reported.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence

import pandas as pd

from dataprops.imaging.formats import SURE
from dataprops.sources.account import NO_KNOWN_FORM, Decision, decide, withdraw
from dataprops.sources.ends import by_ends
from dataprops.sources.joins import splits_of_lists
from dataprops.sources.labels import words_of
from dataprops.sources.resolve import folded, forward_slashes
from dataprops.sources.splitnames import OF_FOLDERS, SPLITS
from dataprops.sources.tablefile import as_text
from dataprops.util.names import ending_of, stem_of, without_ending

LISTS = (".txt", ".lst", ".list", ".csv", ".tsv", ".json", ".jsonl")
OTHERS = (*LISTS, ".mat", ".pkl", ".npy", ".npz")
ARRAYS = (".mat", ".pkl", ".npy", ".npz")  # may define splits, if named after one
DIVISIONS = frozenset(("split", "splits", "partition", "partitions", "folds", "setid"))
PARTITION = frozenset(("partition", "partitions"))
MOST = 2**26  # maximum size of a list, bytes
NUMBERS = {"0": "train", "1": "val", "2": "test"}
NAMED, BOTH = 0.9, 0.1  # minimum fraction of lines that name images; maximum fraction of images in two splits


def split_of_list(name: str) -> str | None:
    """Split of a list, from its file name; a combined train and val list counts as train.

    >>> [split_of_list(name) for name in ("train_val_list.txt", "meta/test.txt", "trainval.txt", "notes.txt", "val_fold1.txt")]
    ['train', 'test', 'train', None, 'val']
    """
    told = {"train" if word == "trainval" else OF_FOLDERS.get(word) for word in words_of(stem_of(name))} - {None}
    return "train" if told == {"train", "val"} else next(iter(told)) if len(told) == 1 else None


def with_splits(table: pd.DataFrame, names: Sequence[str], read: Callable[[str], bytes]) -> None:
    """Fill in missing splits, and report it. A single folder "train" for all images does not override lists of several splits.

    Parameters
    ----------
    names : sequence of str
        Files beside the images.
    read : callable
        read(name) -> bytes. Raises OSError.
    """
    if table["split"].nunique(dropna=False) > 1:
        return
    images = {stem_of(key) for key in table["key"]} if names else set()  # x.txt beside x.jpg is not a list
    lists = {
        name: split
        for name in names
        if name.lower().endswith(LISTS) and (split := split_of_list(name)) and stem_of(name) not in images
    }
    used: list[str] = []
    votes: dict[str, set[str]] = defaultdict(set)
    if len(set(lists.values())) > 1:
        known = by_ends(table["key"].tolist())
        found = {name: _named(name, known, read) for name in lists}
        whole = {name for name in found if "trainval" in name.lower() or {"train", "val"} <= set(words_of(name))}
        if {lists[name] for name in found if found[name] and name not in whole} >= {"train", "val"}:
            found = {name: keys for name, keys in found.items() if name not in whole}
        for name, keys in found.items():
            used += [name] if keys else []
            for key in keys:
                votes[key].add(lists[name])
    both = sum(len(splits) > 1 for splits in votes.values())
    told = {split for splits in votes.values() for split in splits}
    if len(told) > 1 and both <= BOTH * len(votes):
        split = [min(votes[key], key=("test", "val", "train").index) if key in votes else None for key in table["key"]]
        table["split"] = pd.Series(split, dtype=object)
        withdraw(table, "splits")
        value = ", ".join(f"{name} {count:,}" for name, count in Counter(filter(None, split)).items())
        twice = f"; {both:,} stand in two" if both else ""
        why = f"the lists {', '.join(sorted(used)[:4])} name {len(votes):,} of {len(table):,} images{twice}"
        decide(table, Decision("splits", value, why, "--layout, or a table with a split column"))
        return
    if table["split"].notna().any() or _numbered(table, names, read) or _joined(table, names, read):
        return
    stems = {name: set(words_of(stem_of(name))) for name in names}
    beside = sorted(
        name
        for name in names
        if (name in lists and not name.lower().endswith((".csv", ".tsv", ".json", ".jsonl")))  # not a list but a table
        or (name.lower().endswith(OTHERS) and DIVISIONS & stems[name])
        or (name.lower().endswith(ARRAYS) and split_of_list(name))
    )
    if beside:
        why = f"{', '.join(beside[:3])}{', ...' if len(beside) > 3 else ''} may list them, {NO_KNOWN_FORM}"
        decide(table, Decision("splits", "none", why, "giving a table with a split column"))


def _numbered(table: pd.DataFrame, names: Sequence[str], read: Callable[[str], bytes]) -> bool:
    """Fill in splits from lines ``x.jpg 2`` (as in CelebA: 0 train, 1 val, 2 test) or ``x.jpg train``; return whether any do."""
    likely = [
        name for name in names if name.lower().endswith((*LISTS, ".csv")) and PARTITION & set(words_of(stem_of(name)))
    ]
    known = by_ends(table["key"].tolist()) if likely else {}
    for name in likely:
        try:
            lines = [re.split(r"[\s,;]+", line.strip()) for line in as_text(read(name))[0].splitlines() if line.strip()]
        except OSError:
            continue
        parts = {
            key: line[1].lower()
            for line in lines
            if len(line) == 2 and (key := known.get(folded(forward_slashes(line[0]))))
        }
        told = set(parts.values())
        named = told <= SPLITS.keys() and len({SPLITS[part] for part in told}) > 1
        if len(parts) < NAMED * (len(lines) - 2) or not (named or told == NUMBERS.keys()):
            continue
        meaning = SPLITS if named else NUMBERS
        split = [meaning[parts[key]] if key in parts else None for key in table["key"]]
        table["split"] = pd.Series(split, dtype=object)
        value = ", ".join(f"{part} {count:,}" for part, count in Counter(filter(None, split)).items())
        how = "" if named else ": 0 is train, 1 is val, 2 is test"
        why = f"{name} {'names' if named else 'numbers'} {len(parts):,} of {len(table):,} images{how}"
        decide(table, Decision("splits", value, why, "--layout, or a table with a split column"))
        return True
    return False


def _joined(table: pd.DataFrame, names: Sequence[str], read: Callable[[str], bytes]) -> bool:
    """Fill in splits from lists without image names (`joins`); return whether there are any."""
    found = splits_of_lists(table["key"].tolist(), names, read)
    if found is None:
        return False
    split = [found.value_of.get(key) for key in table["key"]]
    table["split"] = pd.Series(split, dtype=object)
    value = ", ".join(f"{part} {count:,}" for part, count in Counter(filter(None, split)).items())
    why = f"{found.name} assigns {len(found.value_of):,} of {len(table):,} images, {found.how}"
    decide(table, Decision("splits", value, why, "--layout, or a table with a split column"))
    return True


def _named(name: str, known: dict[str, str | None], read: Callable[[str], bytes]) -> list[str]:
    """Images named by a list; empty if it is not a list of these images."""
    try:
        data = read(name)
    except OSError:
        return []
    if len(data) > MOST:
        return []
    text = as_text(data)[0]
    lines = _listed(text) if name.lower().endswith(".json") else [line.strip() for line in text.splitlines()]
    lines = [_values_of(line) for line in lines] if name.lower().endswith(".jsonl") else lines
    lines = [line for line in lines if line]
    found = [next((key for path in _paths(line) if (key := known.get(path)) is not None), None) for line in lines]
    if not name.lower().endswith(".json") and found[:1] == [None]:
        found, lines = found[1:], lines[1:]  # header
    keys = [key for key in found if key is not None]
    return keys if keys and len(keys) >= NAMED * len(lines) else []


def _listed(text: str) -> list[str]:
    """Image names in a COCO file, or the lines of a text list."""
    try:
        whole = json.loads(text)
        images = whole["images"] if isinstance(whole, dict) else whole
        return [one if isinstance(one, str) else str(one["file_name"]) for one in images]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []


def _values_of(line: str) -> str:
    """Values of a JSON line, comma-separated; "" for any other line.

    >>> _values_of('{"id": 7, "img": "img/7.png"}'), _values_of("7")
    ('7,img/7.png', '')
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return ""
    return ",".join(map(str, row.values())) if isinstance(row, dict) else ""


def _paths(line: str) -> Iterator[str]:
    """Candidate image paths in a line: the whole line, then each of its values, which may contain spaces."""
    for text in (line, *re.split(r"[\s,;]+", line), *(part.strip(' "') for part in line.split(","))):
        path = folded(forward_slashes(text)).lstrip("/")
        yield path
        if ending_of(path) in SURE:  # listed as 1.png, stored as 1.tif
            yield without_ending(path)
