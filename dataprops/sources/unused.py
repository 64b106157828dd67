"""Warns about unused tables and lists beside the images that name many of them and may hold labels."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from dataprops.sources.account import IN_DOUBT, NO_KNOWN_FORM, Decision, decide
from dataprops.sources.columns import LABELS, is_meta, labels_first, named_columns, texts_of
from dataprops.sources.companions import (
    LISTS,
    MOST_BYTES,
    MOST_TABLES,
    TABLES,
    Companions,
    few_of_a_kind,
    is_example,
)
from dataprops.sources.ends import without_zeros
from dataprops.sources.labels import words_of
from dataprops.sources.neighbours import columns_of, few_valued
from dataprops.util.names import stem_of

HALF, MOST = 0.5, 0.9  # minimum fraction of images matched by name, and by folder
LEAST = 3  # folders; with fewer, matching names may be chance
PROSE = frozenset(
    ("readme", "license", "licence", "requirements", "notice", "changelog", "notes", "terms", "description")
)
OPTION = "giving it in place of the folder"  # remedy for a list; for a table, its label column is named


def with_unused(table: pd.DataFrame, beside: Companions) -> None:
    """Report a doubt about the first table or list that names half of the images and supplied no labels."""
    labels = table["label"].tolist()
    understood = table.attrs.pop("understood", ())
    all_decisions = table.attrs.get("decisions", ())
    decisions = [one for one in all_decisions if NO_KNOWN_FORM not in one["why"]]
    others = " ".join(one["value"] + one["why"] for one in decisions if one["what"] in ("groups", "splits"))
    told = " ".join(one["value"] + one["why"] for one in decisions if one["what"] not in ("groups", "splits"))
    unused = [
        name
        for name in few_of_a_kind(beside.ending(*TABLES, *LISTS))
        if posixpath.basename(name) not in told
        and not (stem_of(name) in beside.stems or name in understood or is_example(name))
    ]
    numbers = all(label is None or label.isdecimal() for label in labels) and table["label"].nunique() > 1
    # others concern images, not classes
    unknown = [one["why"] for one in all_decisions if NO_KNOWN_FORM in one["why"] and ".mat" in one["why"]]
    for name in unused[:MOST_TABLES]:
        half_told = posixpath.basename(name) in others
        option = OPTION
        if not name.lower().endswith(LISTS) or name in beside.headed:
            why, columns = _of_table(name, beside, labels, half_told)
            option = f"--layout none --label-column {shlex.quote(columns[0])}" if columns else OPTION
        elif half_told or PROSE & set(words_of(posixpath.basename(name))) or posixpath.dirname(name) in beside.folders:
            continue
        else:
            why = _of_list(name, beside, labels)
        if why:
            decide(table, Decision("labels", IN_DOUBT, f"{name} matches {why}, but no label was read from it", option))
            return
    if numbers and unknown:
        decide(table, Decision("classes", IN_DOUBT, f"they are numbers without names, and {unknown[0]}", "a table"))


def _of_table(name: str, beside: Companions, labels: Sequence[str | None], half_told: bool) -> tuple[str, list[str]]:
    """Description of a table's matches, and possible label columns, those with label names first; both empty without candidates. For
    a table that supplied patients or splits, only columns with label names.
    """
    keys, frame = beside.keys, beside.frame(name)
    texts = {str(column): texts_of(frame[column]) for column in frame.columns}
    found = columns_of(beside, [name])
    if found is not None:
        label_of = dict(zip(keys, labels, strict=True))
        columns = [column for column in found[1] if not half_told or set(words_of(column)) & set(LABELS)]
        columns = [column for column in columns if not _tells(column, texts[column], found[2], label_of)]
        images = len(set(found[2]) - {None})
        told = f"{images:,} of {len(keys):,} images and has the columns {named_columns(columns)}"
        return (told, labels_first(columns)) if columns and images >= HALF * len(keys) else ("", [])
    if frame.empty:
        return _of_objects(beside.json(name), beside), []
    if half_told:
        return "", []
    classes = {without_zeros(label) for label in labels if label is not None}
    parts = [key.split("/")[:-1] for key in keys]
    for level in range(max(map(len, parts), default=0)):
        at = Counter(without_zeros(part[level]) for part in parts if len(part) > level)
        for column, values in texts.items() if len(at) >= LEAST and not at.keys() <= classes else ():
            ids = {without_zeros(value.strip()) for value in values if value is not None}
            few = [one for one in few_valued(texts) if one != column and not is_meta(one)]
            if few and sum(at[one] for one in at.keys() & ids) >= MOST * len(keys):
                return f"the folders such as {min(at)} in {column!r} and has the columns {named_columns(few)}", []
    return "", []


def _of_objects(whole: Any, beside: Companions) -> str:
    """What a JSON file of unknown form tells: the number of images that it names, if it has few values under a label's name."""
    named = set[str]()
    found: dict[str, list[str]] = defaultdict(list)
    waiting = [whole]
    while waiting:
        one = waiting.pop()
        waiting += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        named |= {stem_of(one)} & beside.stems if isinstance(one, str) else set()
        for name, value in one.items() if isinstance(one, dict) else ():
            if isinstance(value, str | int) and set(words_of(name)) & set(LABELS):
                found[name].append(str(value))
    few = [name for name in sorted(found) if few_valued({name: found[name]})]
    images = sum(stem_of(key) in named for key in beside.keys)
    enough = few and images >= HALF * len(beside.keys)
    return f"{images:,} of {len(beside.keys):,} images and has values of {named_columns(few)}" if enough else ""


def _tells(
    column: str, values: Sequence[str | None], images: Sequence[str | None], label_of: Mapping[str, str | None]
) -> bool:
    """Whether values carry the same information as the labels of their images, under any naming, or a finer division that is not
    named as classes.
    """
    pairs = {(value, label_of[key]) for value, key in zip(values, images, strict=True) if key is not None}
    told, labels = {value for value, _ in pairs}, {label for _, label in pairs}
    finest = len(labels) if set(words_of(column)) & set(LABELS) else max(len(told), len(labels))
    return len(labels - {None}) > 1 and len(pairs) <= finest


def _of_list(name: str, beside: Companions, labels: Sequence[str | None]) -> str:
    """Number of images in a list and some of its values, if these are not equivalent to the labels; otherwise ""."""
    keys = beside.keys
    lines = [re.split(r"[\s,;|]+", line) for line in beside.lines(name, MOST_BYTES)]
    label_of = dict(zip(keys, labels, strict=True))
    width = Counter(map(len, lines)).most_common(1)[0][0] if lines else 0
    rows = {key: line for line in lines if len(line) == width and (key := beside.image(line[0])) is not None}
    if width < 2 or len(rows) < HALF * max(len(lines), len(keys)):
        return ""
    for at in range(1, width):
        values = Counter(line[at] for line in rows.values())
        pairs = {(line[at], label_of[key]) for key, line in rows.items()}
        if 1 < len(values) <= max(2, len(rows) / 2) and len(pairs) > max(len(values), len({pair[1] for pair in pairs})):
            return f"{len(rows):,} of {len(keys):,} images and has values such as {', '.join(sorted(values)[:4])}"
    return ""
