"""Matching of images to table rows by column values in the image paths.

``patch_patient_004_node_4_x_3328_y_21792.png`` matches the row with patient 004, node 4, x_coord 3328 and y_coord 21792;
``p10/p10000032/s50414267/1.jpg`` the one with subject_id 10000032 and study_id 50414267. ``99861_2.tif`` matches the row whose
columns slide and rid are 99861 and 2.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

import pandas as pd

from dataprops.sources.columns import texts_of
from dataprops.sources.ends import without_zeros
from dataprops.sources.labels import words_of
from dataprops.sources.levels import ALIKE
from dataprops.util.names import stem_of, without_ending

PART = re.compile(r"([A-Za-z]+)[-_]?(\d+)(?![A-Za-z0-9])")  # a word and a number in a path
JOINED = 8  # columns whose values may make names
LONG = 4  # minimum digits of an id; shorter numbers need a prefix that matches the column name


def rows_by_parts(keys: Sequence[str], frame: pd.DataFrame) -> tuple[dict[str, list[int]], list[str]]:
    """Rows of each image, and the columns found in the paths; empty unless the columns match nearly all images.

    >>> frame = pd.DataFrame({"patient": ["004", "009"], "x_coord": ["32", "64"]})
    >>> rows_by_parts(["a/patient_004_x_32.png", "a/patient_009_x_64.png"], frame)
    ({'a/patient_004_x_32.png': [0], 'a/patient_009_x_64.png': [1]}, ['patient', 'x_coord'])
    """
    held: dict[str, dict[str, str]] = defaultdict(dict)  # word -> image -> number
    for key in keys:
        for word, number in PART.findall(without_ending(key)):
            held[word.lower()][key] = without_zeros(number)
    columns: dict[str, str] = {}
    for name in map(str, frame.columns):
        values = {without_zeros(value.strip()) for value in texts_of(frame[name]) if value is not None}
        fitting = [
            word
            for word, numbers in held.items()
            if word not in columns.values() and len(numbers) >= ALIKE * len(keys) and _fits(word, name, numbers, values)
        ]
        if fitting:
            columns[name] = min(fitting, key=lambda word: not _called(word, name))
    if not columns:
        return _rows_by_joined(keys, frame)
    rows: dict[tuple[str, ...], list[int]] = defaultdict(list)
    cells = [[without_zeros((value or "").strip()) for value in texts_of(frame[name])] for name in columns]
    for row, values in enumerate(zip(*cells, strict=True)):
        rows[values].append(row)
    found = {}
    for key in keys:
        parts = tuple(held[word].get(key, "") for word in columns.values())
        if parts in rows:
            found[key] = rows[parts]
    return (found, list(columns)) if len(found) >= ALIKE * len(keys) and len(rows) > 1 else ({}, [])


def _rows_by_joined(keys: Sequence[str], frame: pd.DataFrame) -> tuple[dict[str, list[int]], list[str]]:
    """Rows whose values in two neighbouring columns make the name of an image; empty unless nearly all rows do.

    >>> frame = pd.DataFrame({"slide": ["99861", "99861"], "rid": ["1", "2"], "y": ["0.1", "0.4"]})
    >>> _rows_by_joined(["a/99861_1.tif", "a/99861_2.tif", "b/99873_1.tif"], frame)
    ({'a/99861_1.tif': [0], 'a/99861_2.tif': [1]}, ['slide', 'rid'])
    """
    count = Counter(map(stem_of, keys))
    known = {stem: key for key in keys if count[stem := stem_of(key)] == 1}
    texts = {str(name): texts_of(frame[name]) for name in list(frame.columns)[:JOINED]}
    for pair in pairwise(texts):
        for mark in "_-":
            names = [f"{first}{mark}{second}" for first, second in zip(*(texts[name] for name in pair), strict=True)]
            rows: dict[str, list[int]] = defaultdict(list)
            for row, name in enumerate(names):
                if name in known:
                    rows[known[name]].append(row)
            if len(rows) > 1 and sum(map(len, rows.values())) >= ALIKE * len(names):
                return dict(rows), list(pair)
    return {}, []


def _called(word: str, column: str) -> bool:
    return any(part.startswith(word) for part in words_of(column))


def _fits(word: str, column: str, numbers: dict[str, str], values: set[str]) -> bool:
    """Whether the numbers after a word are values of a column."""
    if sum(number in values for number in numbers.values()) < ALIKE * len(numbers):
        return False
    return len(set(numbers.values())) > 1 and (_called(word, column) or min(map(len, set(numbers.values()))) >= LONG)
