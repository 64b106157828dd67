"""Tables with one row per patient, where each patient has a folder: ``labels.csv`` with ``slide,label``, ``tiles/TCGA-A7/1.png``.

A column is used if its name denotes a patient (or slide, study, ...) and it contains the names or prefixes of nearly all folders.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.sources.account import Decision, decide, withdraw
from dataprops.sources.columns import roles, texts_of
from dataprops.sources.companions import TABLES, Companions, with_header_as_row
from dataprops.sources.ends import beginning_of, without_zeros
from dataprops.sources.labels import words_of
from dataprops.sources.levels import ALIKE
from dataprops.sources.table import SourceOptions
from dataprops.util.names import word_table

WRITTEN = tuple(ending for ending in TABLES if ending != ".parquet")  # files searched for patients
PERSONS = frozenset(
    word_table("""
    patient patients subject participant case volunteer person donor user animal slide study scan
    """)
)
LEAST = 3  # folders; with fewer, matching names may be chance


def with_persons(table: pd.DataFrame, beside: Companions, folders: Sequence[str | None]) -> bool:
    """Fill in labels and splits from a table of the patients that the folders are named after; the folders become groups.

    Parameters
    ----------
    folders : sequence of str
        Candidate patient folder of each image; None without one.

    Returns
    -------
    bool
        Whether the table supplied labels.
    """
    known = {name for name in folders if name is not None}
    if len(known) < LEAST:
        return False
    for parts in beside.alike(beside.ending(*WRITTEN) + beside.headed, lambda frame: _with_names(frame, known)):
        name, frame = " and ".join(parts), pd.concat(parts.values(), ignore_index=True)
        if (found := _persons(frame, known)) is None:
            continue
        column, rows = found
        why = f"{column!r} of {name} names {len(rows):,} of {len(known):,} folders"
        table["label"] = pd.Series([None] * len(table), dtype=object)
        table["group"] = pd.Series(list(folders), dtype=object)
        table.attrs["empty_classes"] = []
        withdraw(table, "classes")
        if all(one["what"] != "groups" for one in table.attrs["decisions"]):
            decide(table, Decision("groups", f"{len(known):,} folders", why, "--layout, --group-pattern"))
        own = [rows.get(folder or "", []) for folder in folders]
        return _told_of(table, frame, name, beside.options, column, own, why)
    return False


def _with_names(frame: pd.DataFrame, known: set[str]) -> pd.DataFrame:
    """Add column names to a table of two columns whose first row names a folder, ``00012,1``; others are returned unchanged."""
    first = list(map(str, frame.columns))
    if len(first) != 2 or without_zeros(first[0]) not in map(without_zeros, known):
        return frame
    whole = with_header_as_row(frame, ["patient", "label"])
    return frame if whole["label"].is_unique else whole  # unique values are full names of the folders, not labels


def _told_of(
    table: pd.DataFrame,
    frame: pd.DataFrame,
    name: str,
    options: SourceOptions,
    column: str,
    rows: Sequence[list[int]],
    why: str,
) -> bool:
    """Fill in labels and splits if the table has one label per patient; `rows` are those of each image. Returns whether it has."""
    try:
        found = roles(frame, options, name, [column])
    except DatapropsError:
        return False
    label, split = found.label, found.split
    if len(set(label) - {None}) < 2 or any(len({label[row] for row in some} - {None}) > 1 for some in rows):
        return False  # a constant, or for example, one row per image
    at = [some[0] if some else None for some in rows]
    table["label"] = pd.Series([None if row is None else label[row] for row in at], dtype=object)
    if table["split"].isna().all():
        table["split"] = pd.Series([None if row is None else split[row] for row in at], dtype=object)
    if found.several:
        table.attrs["several"] = True
    decide(table, Decision("labels", f"of the table {posixpath.basename(name)}", why, "--layout"), *found.told["label"])
    return True


def _persons(frame: pd.DataFrame, known: set[str]) -> tuple[str, dict[str, list[int]]] | None:
    """The patient column, and the rows of each folder."""
    for column in map(str, frame.columns):
        if not PERSONS & {word.removesuffix("id") or word for word in words_of(column)}:
            continue
        rows: dict[str, list[int]] = {}
        for row, value in enumerate(texts_of(frame[column])):
            if value is not None:
                rows.setdefault(without_zeros(value.strip()), []).append(row)
        found = {folder: rows[name] for folder in known if (name := beginning_of(without_zeros(folder), rows))}
        if len(found) >= ALIKE * len(known):
            return column, found
    return None
