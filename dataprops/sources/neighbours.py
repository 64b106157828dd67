"""Label tables of any name in an image folder without classes: one table that lists the images, or several parts of one.

They are used only if the choice is unambiguous: if tables give an image two different labels, this is reported and none is used.
"""

from __future__ import annotations

import functools
import itertools
import posixpath
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.imaging.formats import SURE
from dataprops.sources.account import Decision
from dataprops.sources.columns import (
    columns_of_files,
    is_patient,
    path_column,
    roles,
    texts_of,
    without_labels,
)
from dataprops.sources.companions import (
    HEAD,
    LISTS,
    MOST_BYTES,
    TABLES,
    Companions,
    few_of_a_kind,
    is_example,
    with_header_as_row,
)
from dataprops.sources.ends import by_ends, image_of
from dataprops.sources.labels import SEPARATOR, joined, words_of
from dataprops.sources.lists import PARTITION, split_of_list
from dataprops.sources.parts import rows_by_parts
from dataprops.sources.resolve import folded, forward_slashes
from dataprops.sources.splitnames import are_splits
from dataprops.sources.table import Said, SourceOptions
from dataprops.sources.tablefile import Table, read_table
from dataprops.sources.texttable import as_text, has_bars, lists_images
from dataprops.util.names import ending_of, stem_of, without_ending

NAMED = 0.5  # minimum fraction of a table's rows, or of the images, that are matched
LONG = 6  # minimum digits of an image's name that is a number, in a list without extensions
WHOLE = 0.9  # minimum fraction of images for a complete table
DISAGREE = 0.01  # maximum fraction of images in both tables with different labels
DESCRIBED = 64  # other columns kept, to find subgroups that are harder than the rest
# words of columns of mask files
OF_MASKS = frozenset(("mask", "masks", "segmentation", "segmented", "roi", "groundtruth"))


class Told(NamedTuple):
    """Values from one table, by image key; `used` are its columns that tell them."""

    name: str
    label: dict[str, str | None]
    split: dict[str, str | None]
    group: dict[str, str | None]
    absent: list[str]
    several: bool
    decisions: list[Decision]
    frame: pd.DataFrame
    used: list[str]
    row_of: dict[str, int]
    masks: set[str]
    many_in_a_row: bool

    @property
    def chosen(self) -> tuple[str, ...]:
        """Its label columns."""
        return next((one.columns for one in self.decisions if one.columns), ())


def neighbour_tables(
    beside: Companions, splits: Sequence[str | None], names: Sequence[str] | None = None
) -> list[Told]:
    """Tables that list the images and their labels, those with most images first.

    Parameters
    ----------
    splits : sequence of str
        Split of each image according to the folders.
    names : sequence of str, optional
        Only these files.
    """
    stems = {without_ending(key) for key in beside.keys}
    likely = few_of_a_kind(
        [
            name
            for name in (beside.names if names is None else names)
            if name.lower().endswith((*TABLES, *LISTS))
            and without_ending(name) not in stems
            and not is_example(name)
            and not PARTITION & set(words_of(stem_of(name)))
        ]
    )
    known = _by_place(beside, splits)
    own = {name: known(split_of_list(name), posixpath.normpath(posixpath.dirname(name))) for name in likely}
    found = {name: told for name in likely if (told := _told(name, own[name], beside, beside.options)) is not None}
    columns = {tuple(told.frame.columns): label[0] for told in found.values() if len(label := told.chosen) == 1}
    for name in likely:  # what one part of a table calls its label, the others do, even if too few rows tell it
        label = columns.get(beside.columns.get(name, ())) if name not in found else None
        if label and (told := _told(name, own[name], beside, replace(beside.options, label_column=label))):
            found[name] = told
    return sorted(found.values(), key=lambda told: (-len(told.label), told.name))


def _by_place(
    beside: Companions, splits: Sequence[str | None]
) -> Callable[[str | None, str], Mapping[str, str | None]]:
    """`ends.by_ends` for a table of a split, or in a folder: its own images precede others of the same name, as ``train/1.png`` and
    ``test/1.png``.
    """

    @functools.cache
    def known(split: str | None, folder: str) -> Mapping[str, str | None]:
        if None not in beside.known.values() or (split is None and folder == "."):
            return beside.known
        own = [
            key
            for key, part in zip(beside.keys, splits, strict=True)
            if (part == split if split else key.startswith(f"{folder}/"))
        ]
        return {**beside.known, **{end: key for end, key in by_ends(own).items() if key is not None}}

    return known


def images_of(paths: Sequence[str | None], known: Mapping[str, str | None]) -> list[str | None]:
    """The image that each path refers to."""
    return [None if path is None else image_of(path, known) for path in paths]


def agreeing(tables: Sequence[Told], images: int) -> list[Told]:
    """The tables to use: the first, and those that list other images with the same columns; none if two disagree.

    A table of nearly all images takes precedence over tables of less than half, such as boxes of a few. Tables named after splits,
    ``train.csv`` and ``test.csv``, define the splits of their images.
    """
    if any(not told.many_in_a_row and len(told.label) >= WHOLE * images for told in tables):
        tables = [told for told in tables if not told.many_in_a_row]  # prefer tables with one row per image
    used: list[Told] = []
    labels: dict[str, str | None] = {}
    whole = bool(tables) and len(tables[0].label) >= WHOLE * images
    for told in tables[:1] + [told for told in tables[1:] if not whole or _counts(told, tables[0], images)]:
        shared = [key for key, label in told.label.items() if label is not None and labels.get(key) is not None]
        if sum(labels[key] != told.label[key] for key in shared) > DISAGREE * len(shared):
            return []
        if not used or (
            not shared and (list(told.frame.columns) == list(used[0].frame.columns) or told.used == used[0].used)
        ):
            used.append(told)
            labels.update(told.label)
    parts = [split_of_list(told.name) for told in used]
    if len(set(parts) - {None}) < 2:  # a single split carries no information
        return used
    return [
        told._replace(split={key: own or part for key, own in told.split.items()})
        for told, part in zip(used, parts, strict=True)
    ]


def disagreeing(tables: Sequence[Told]) -> list[str]:
    """Names of the first two tables that give an image different labels."""
    for one, other in itertools.combinations(tables, 2):
        if any(label is not None and other.label.get(key) not in (None, label) for key, label in one.label.items()):
            return [one.name, other.name]
    return [told.name for told in tables]


def _counts(told: Told, first: Told, images: int) -> bool:
    """Whether a table beside a complete one is considered: it lists half of the images, or has 0 and 1 the other way round."""
    if len(told.label) >= images / 2:
        return True
    pairs = {(first.label.get(key), label) for key, label in told.label.items() if label is not None}
    return pairs == {("0", "1"), ("1", "0")}


def _told(name: str, known: Mapping[str, str | None], beside: Companions, options: SourceOptions) -> Told | None:
    """Values from a table; None if it lists too few of the images, or has no labels."""
    try:
        if (read := _table(name, known, beside)) is None:
            return None
        frame, named = _named(read.frame, known, beside.keys, options, name)
        if not named.at or without_labels(frame, named.used[0] if named.used else "", options):
            return None
        used = list(named.used)
        found = roles(frame, options, name, used)
    except (ValueError, KeyError, TypeError, RecursionError, DatapropsError):
        return None
    if (name.lower().endswith(LISTS) and _are_ids(found.label)) or _are_no_labels(found.label):
        return None
    decisions = [*read.decisions, *named.decisions, *found.decisions]
    group = found.group
    if named.rows and all(value is None for value in group):
        group = named.rows
        decisions = [one for one in decisions if not one.value.endswith("group")]
        decisions.append(Decision("groups", f"rows of {name}", "each names several images", "--group-column"))
    at = named.at
    rows = {key: row for row, key in reversed(list(enumerate(at))) if key is not None}
    label, many = _labels_of_rows(at, found.label)
    if not rows or all(one is None for one in label.values()):
        return None
    split, group = ({key: values[row] for key, row in rows.items()} for values in (found.split, group))
    several = found.several or many
    return Told(
        name, label, split, group, named.absent, several, decisions, frame, used, rows, named.masks, bool(named.rows)
    )


def _table(name: str, known: Mapping[str, str | None], beside: Companions) -> Table | None:
    """A table or list, with names for its columns; None if it is none."""
    data, called = beside.data(name, MOST_BYTES), name
    if name.lower().endswith(LISTS):
        data, called = _as_list(data, known), f"{without_ending(name)}.txt"
        if not lists_images(data[:HEAD]) and not has_bars(as_text(data[:HEAD])[0]):
            return None
    frame, decisions = _with_names(*read_table(data, called), known) if data else Table(pd.DataFrame(), [])
    beside.columns[name] = tuple(frame.columns)
    return None if frame.empty or not isinstance(frame.index, pd.RangeIndex) else Table(frame, decisions)


class Named(NamedTuple):
    """How a table names images: columns used, image of each row, missing paths, row names if a row names several images, and images
    in mask columns.
    """

    used: list[str]
    at: list[str | None]
    absent: list[str]
    decisions: list[Decision]
    rows: list[str | None]
    masks: set[str]


def _named(
    frame: pd.DataFrame, known: Mapping[str, str | None], keys: Sequence[str], options: SourceOptions, name: str
) -> tuple[pd.DataFrame, Named]:
    """The table with one row per image, and how it names them: by a path, by several paths, or by parts of a path."""

    def share(values: Sequence[str | None]) -> float:
        hits = [image_of(value, known) for value in values if value is not None]
        here = [key for key in hits if key is not None]
        return max(len(set(here)) / len(keys), len(here) / max(1, len(hits)))

    def exist(column: str) -> float:
        return share(texts_of(frame[column])) >= NAMED

    def files(values: Sequence[str]) -> float:  # unrelated numbers may coincide with image names
        return 0.0 if are_numbers(values) else share(values)

    several = columns_of_files(frame, files) if options.path_column == SourceOptions().path_column else []
    try:
        column, decisions = path_column(frame, options, exist, name, files)
        marked = [str(one) for one in frame.columns if one != column and OF_MASKS & set(words_of(str(one)))]
        several = [column, *(one for one in marked if share(texts_of(frame[one].dropna())) >= NAMED)]
    except DatapropsError:
        decisions = []
    masks = {column for column in several if len(several) > 1 and OF_MASKS & set(words_of(column))}
    used = [column for column in several if column not in masks]
    if used:
        paths = [texts_of(frame[column]) for column in several]
        images = [images_of(some, known) for some in paths]
        own = [some for column, some in zip(several, images, strict=True) if column in used]
        at = [key for some in own for key in some]
        there = {key for key in at if key is not None}
        marked = {key for column, some in zip(several, images, strict=True) if column in masks for key in some}
        absent = [
            path
            for some, found in zip(paths, images, strict=True)
            for path, key in zip(some, found, strict=True)
            if path is not None and key is None
        ]
        rows: list[str | None] = []
        if len(used) > 1:
            rows = [f"row {row + 1}" for row in range(len(frame))] * len(used)
            why = "their values are file names; a row's label applies to all its images"
            decisions = [Decision("columns", f"{', '.join(map(repr, used))} are paths", why, "--path-column")]
        if masks:
            why = "by their names"
            decisions.append(
                Decision("columns", f"{', '.join(map(repr, sorted(masks)))} are masks", why, "--include '*'")
            )
        whole = pd.concat([frame] * len(used), ignore_index=True) if len(used) > 1 else frame
        gone = {key for key in marked if key is not None} - there if not options.include else set[str]()
        return whole, Named(used, at, list(dict.fromkeys(absent)), decisions, rows, gone)
    by_parts, columns = rows_by_parts(keys, frame)
    pairs = [(key, row) for key, rows in by_parts.items() for row in rows]
    why = "their values occur in the paths"
    decisions = [Decision("columns", f"{', '.join(map(repr, columns))} name the images", why, "--path-column")]
    whole = frame.iloc[[row for _, row in pairs]].reset_index(drop=True)
    used = [column for column in columns if not is_patient(column)]  # a patient column still supplies the patient
    return whole, Named(used, [key for key, _ in pairs], [], decisions, [], set())


def _as_list(data: bytes, known: Mapping[str, str | None]) -> bytes:
    """Add the extensions to the image names of a list, ``pug_1 3 2`` or ``0034309 Boeing 737``; other texts are returned unchanged."""
    lines = [line.strip() for line in as_text(data)[0].splitlines() if line.strip() and not line.startswith("#")]
    mark = "\t" if all("\t" in line for line in lines) else None
    rows = [line.split(mark) for line in lines]
    if mark is None and len({len(row) for row in rows}) > 1:
        rows = [line.split(None, 1) for line in lines]  # a name of several words
        mark = "\t"
    keys = [known.get(folded(forward_slashes(row[0]))) for row in rows]
    short = any(row[0].isdecimal() and len(row[0]) < LONG for row in rows)
    if not rows or None in keys or len({len(row) for row in rows}) > 1 or short:
        return data
    endings = [posixpath.splitext(key or "")[1] for key in keys]
    return "".join(
        (mark or " ").join((f"{row[0].removesuffix(ending)}{ending}", *row[1:])) + "\n"
        for row, ending in zip(rows, endings, strict=True)
    ).encode()


def _are_ids(labels: Sequence[str | None]) -> bool:
    """Whether the numbers beside the paths of a list are unique per image: ids, not labels."""
    whole = [label for label in labels if label is not None and label.strip().isdecimal()]
    return len(whole) == len(set(whole)) == len(labels) > 2


def _are_no_labels(labels: Sequence[str | None]) -> bool:
    """Whether all values are files, as masks of the images are (``./labelsTr/1.nii.gz``), or objects of JSON."""
    told = [label for label in labels if label is not None]
    return bool(told) and all(
        ending_of(label) in SURE or label.endswith((".nii", ".nii.gz")) or label.startswith(("{", "[{"))
        for label in told
    )


def _with_names(
    frame: pd.DataFrame, decisions: list[Decision], known: Mapping[str, str | None]
) -> tuple[pd.DataFrame, list[Decision]]:
    """Add column names if the first row names an image without extension, ``ISIC_0,benign``; other tables are unchanged."""
    first = [number for number, name in enumerate(frame.columns) if known.get(folded(str(name))) is not None]
    if len(first) != 1 or len(frame.columns) != 2 or frame.columns[first[0]].isdecimal():
        return frame, decisions
    names = ["path", "label"] if first[0] == 0 else ["label", "path"]
    why = "its first row names an image"
    told = Decision("table", f"no header: columns taken as {', '.join(names)}", why, "adding a header row")
    return with_header_as_row(frame, names), [*decisions, told]


def columns_of(beside: Companions, names: Sequence[str]) -> tuple[str, list[str], list[str | None]] | None:
    """The table with a column that names most images, its other columns with few values, and the image of each row."""
    best: tuple[str, list[str], list[str | None]] | None = None
    for name in names:
        frame = beside.frame(name)
        texts = {str(column): texts_of(frame[column]) for column in frame.columns}
        images = {column: images_of(values, beside.known) for column, values in texts.items()}
        paths = [
            column for column, some in images.items() if some and len(some) - some.count(None) >= NAMED * len(some)
        ]
        paths = [column for column in paths if not (are_numbers(texts[column]) and few_valued({column: texts[column]}))]
        few = few_valued({column: values for column, values in texts.items() if column not in paths})
        few = [column for column in few if not are_splits(texts[column])]
        if paths and few and (best is None or len(set(best[2])) < len(set(images[paths[0]]))):
            best = name, few, images[paths[0]]
    return best


def are_numbers(values: Sequence[str | None]) -> bool:
    """Whether all values are numbers, which may coincide with image names."""
    return all(value is None or value.strip().isdecimal() for value in values)


def few_valued(texts: Mapping[str, Sequence[str | None]]) -> list[str]:
    """Columns with few distinct values, and columns of measurements."""
    return [
        column
        for column, values in texts.items()
        if 1 < len(set(values)) <= max(2, len(values) / 2) or _are_measured(values)
    ]


def _are_measured(values: Sequence[str | None]) -> bool:
    """Whether a column holds numbers with repeats (an age, a grade) rather than ids."""
    told = [value for value in values if value is not None]
    return 1 < len(set(told)) < len(told) and all(re.fullmatch(r"-?\d+(\.\d+)?", value.strip()) for value in told)


def _labels_of_rows(at: Sequence[str | None], labels: Sequence[str | None]) -> tuple[dict[str, str | None], bool]:
    """Labels by image, joined if its rows (such as its objects) have different ones; and whether any do."""
    sets: dict[str, list[str]] = defaultdict(list)
    for key, label in zip(at, labels, strict=True):
        if key is not None:
            sets[key] += [] if label is None else [label]
    found: dict[str, str | None] = {}
    for key, some in sets.items():
        parts = [part for one in some for part in one.split(SEPARATOR)]
        found[key] = joined(parts) if len(set(some)) > 1 else some[0] if some else None
    return found, any(len(set(some)) > 1 for some in sets.values())


def described_by(tables: Sequence[Told]) -> tuple[Said, tuple[list[str], int]]:
    """Values of the tables' other columns by image key; the names of these columns, and the number of all columns."""
    frame = tables[0].frame
    unused = [str(name) for name in frame.columns if name not in tables[0].used and not str(name).startswith("Unnamed")]
    said = Said({name: {} for name in unused[:DESCRIBED]})
    for told in tables:
        for name, values in said.items():
            texts = texts_of(told.frame[name]) if name in told.frame.columns else [None] * len(told.frame)
            values.update({key: texts[row] for key, row in told.row_of.items()})
    return said, (unused, len(frame.columns))
