"""Splits from lists beside the images: ``train_val_list.txt`` and ``test_list.txt``, ``meta/train.txt``, ``ImageSets/Main``,
``train.csv`` and ``test.csv``.

Lists are used if nearly all lines of each name an image (by path, by the end of the path, or without extension) and if they cover
at least two splits. Other files named after splits are reported.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from dataprops.imaging.formats import SURE
from dataprops.sources.account import NO_KNOWN_FORM, Decision, decide, withdraw
from dataprops.sources.companions import Companions
from dataprops.sources.joins import splits_of_lists
from dataprops.sources.labels import words_of
from dataprops.sources.resolve import folded, forward_slashes
from dataprops.sources.splitnames import OF_FOLDERS, SPLITS
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


def with_splits(table: pd.DataFrame, beside: Companions) -> None:
    """Fill in missing splits, and report it. A single folder "train" for all images does not override lists of several splits."""
    if table["split"].nunique(dropna=False) > 1:
        return
    lists = {  # x.txt beside x.jpg is not a list
        name: split
        for name in beside.ending(*LISTS)
        if (split := split_of_list(name)) and stem_of(name) not in beside.stems
    }
    used: list[str] = []
    votes: dict[str, set[str]] = defaultdict(set)
    if len(set(lists.values())) > 1:
        found = {name: _named(name, beside) for name in lists}
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
        withdraw(table, "splits")
        twice = f"; {both:,} stand in two" if both else ""
        why = f"the lists {', '.join(sorted(used)[:4])} name {len(votes):,} of {len(table):,} images{twice}"
        _fill(table, {key: min(some, key=("test", "val", "train").index) for key, some in votes.items()}, why)
        return
    if table["split"].notna().any() or _numbered(table, beside) or _joined(table, beside):
        return
    stems = {name: set(words_of(stem_of(name))) for name in beside.names}
    unread = sorted(
        name
        for name in beside.names
        if (name in lists and not name.lower().endswith((".csv", ".tsv", ".json", ".jsonl")))  # not a list but a table
        or (name.lower().endswith(OTHERS) and DIVISIONS & stems[name])
        or (name.lower().endswith(ARRAYS) and split_of_list(name))
    )
    if unread:
        why = f"{', '.join(unread[:3])}{', ...' if len(unread) > 3 else ''} may list them, {NO_KNOWN_FORM}"
        decide(table, Decision("splits", "none", why, "giving a table with a split column"))


def _fill(table: pd.DataFrame, split_of: Mapping[str, str], why: str) -> None:
    """Set the split of each image, and report it."""
    split = [split_of.get(key) for key in table["key"]]
    table["split"] = pd.Series(split, dtype=object)
    value = ", ".join(f"{name} {count:,}" for name, count in Counter(filter(None, split)).items())
    decide(table, Decision("splits", value, why, "--layout, or a table with a split column"))


def _numbered(table: pd.DataFrame, beside: Companions) -> bool:
    """Fill in splits from lines ``x.jpg 2`` (as in CelebA: 0 train, 1 val, 2 test) or ``x.jpg train``; return whether any do."""
    for name in beside.ending(*LISTS):
        if not PARTITION & set(words_of(stem_of(name))):
            continue
        lines = [re.split(r"[\s,;]+", line) for line in beside.lines(name, MOST)]
        parts = {
            key: line[1].lower()
            for line in lines
            if len(line) == 2 and (key := beside.known.get(folded(forward_slashes(line[0]))))
        }
        told = set(parts.values())
        named = told <= SPLITS.keys() and len({SPLITS[part] for part in told}) > 1
        if len(parts) < NAMED * (len(lines) - 2) or not (named or told == NUMBERS.keys()):
            continue
        meaning = SPLITS if named else NUMBERS
        how = "" if named else ": 0 is train, 1 is val, 2 is test"
        why = f"{name} {'names' if named else 'numbers'} {len(parts):,} of {len(table):,} images{how}"
        _fill(table, {key: meaning[part] for key, part in parts.items()}, why)
        return True
    return False


def _joined(table: pd.DataFrame, beside: Companions) -> bool:
    """Fill in splits from lists without image names (`joins`); return whether there are any."""
    if (found := splits_of_lists(beside)) is not None:
        why = f"{found.name} assigns {len(found.value_of):,} of {len(table):,} images, {found.how}"
        _fill(table, found.value_of, why)
    return found is not None


def _named(name: str, beside: Companions) -> list[str]:
    """Images named by a list; empty if it is not a list of these images."""
    known, is_json = beside.known, name.lower().endswith(".json")
    lines = _listed(beside.json(name, MOST)) if is_json else beside.lines(name, MOST)
    lines = [_values_of(line) for line in lines] if name.lower().endswith(".jsonl") else lines
    lines = [line for line in lines if line]
    found = [next((key for path in _paths(line) if (key := known.get(path)) is not None), None) for line in lines]
    if not is_json and found[:1] == [None]:
        found, lines = found[1:], lines[1:]  # header
    keys = [key for key in found if key is not None]
    return keys if keys and len(keys) >= NAMED * len(lines) else []


def _listed(whole: Any) -> list[str]:
    """Image names in a COCO file, or the lines of a list in JSON: texts, or the values of its rows."""
    rows = whole.get("images") if isinstance(whole, dict) else whole
    rows = [row for row in rows if isinstance(row, str | dict)] if isinstance(rows, list) else []
    return [row if isinstance(row, str) else str(row.get("file_name") or _joined_values(row)) for row in rows]


def _joined_values(row: Mapping[str, Any]) -> str:
    return ",".join(map(str, row.values()))


def _values_of(line: str) -> str:
    """Values of a JSON line, comma-separated; "" for any other line.

    >>> _values_of('{"id": 7, "img": "img/7.png"}'), _values_of("7")
    ('7,img/7.png', '')
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return ""
    return _joined_values(row) if isinstance(row, dict) else ""


def _paths(line: str) -> Iterator[str]:
    """Candidate image paths in a line: the whole line, then each of its values, which may contain spaces."""
    parts = (*re.split(r"[\s,;]+", line), *(part.strip(' "') for part in line.split(",")))
    for text in (line, *parts, *re.findall(r'"([^"]+)"', line)):  # a name in quotes may contain a comma
        path = folded(forward_slashes(text)).lstrip("/")
        yield path
        if ending_of(path) in SURE:  # listed as 1.png, stored as 1.tif
            yield without_ending(path)
