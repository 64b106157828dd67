"""Lists that contain no image names: lists joined by id to an index of the images, and lists in image order.

As in CUB, each line of ``images.txt`` has a number and a path, each line of ``image_class_labels.txt`` the number and a label.
``imagelabels.mat``, or a text file with one word per line, has one label per image, where the image names end in consecutive
numbers from 0 or 1.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dataprops.sources import matlab
from dataprops.sources.companions import LISTS, Companions
from dataprops.sources.labels import words_of
from dataprops.sources.levels import ALIKE
from dataprops.sources.resolve import folded, forward_slashes
from dataprops.sources.splitnames import OF_FOLDERS, SPLITS
from dataprops.util.names import stem_of

OF_LABELS = frozenset(
    ("label", "labels", "class", "classes", "classid", "target", "targets", "truth", "groundtruth", "gt")
)
OF_NAMES = frozenset(("names", "classes", "categories", "labels", "classnames"))
INDEX = frozenset(("images", "image", "files", "filenames", "imagenames", "index", "names"))
MOST_CLASSES, LONGEST = 1000, 60  # classes of a list in image order; characters of a class name
BEGINNINGS = {"tr": "train", "va": "val", "te": "test", "ts": "test"}  # of lists of image numbers: trnid, valid, tstid


class Joined(NamedTuple):
    """Values by image key, the file they come from, and how it was matched."""

    value_of: dict[str, str]
    name: str
    how: str


def labels_of_lists(beside: Companions) -> Joined | None:
    """Labels from a list joined by id or in image order; None without one."""
    rows = _rows(beside)
    for index, images in _indexes(beside, rows):
        for name, values in _joined_to(index, images, rows):
            if OF_LABELS & _words(name) and 1 < len(set(values.values())) <= len(values) / 2:
                called = _names_of(set(values.values()), rows, {index, name})
                labels = {key: called.get(value, value) for key, value in values.items()}
                return Joined(labels, name, f"by the ids of {index}")
    return _in_order(beside, rows)


def splits_of_lists(beside: Companions) -> Joined | None:
    """Splits from a list joined by id (1 is train in a list named train), or from lists of image numbers; None without one."""
    rows = _rows(beside)
    for index, images in _indexes(beside, rows):
        for name, values in _joined_to(index, images, rows):
            told = set(values.values())
            if told <= SPLITS.keys() and len(told) > 1:
                return Joined({key: SPLITS[value] for key, value in values.items()}, name, f"by the ids of {index}")
            first = next((word for word in words_of(stem_of(name)) if word in OF_FOLDERS), None)
            if told == {"0", "1"} and first == "train":
                splits = {key: ("test", "train")[int(value)] for key, value in values.items()}
                return Joined(splits, name, f"by the ids of {index}; 1 is train, 0 is test")
    return next((found for name in beside.ending(matlab.SUFFIX) if (found := _by_numbers(beside, name))), None)


def _rows(beside: Companions) -> dict[str, list[list[str]]]:
    """Candidate text files, each line split into its values; empty if there is only an index."""
    texts = {name: _words(name) for name in beside.ending(*LISTS)}
    telling = {name for name, words in texts.items() if words & (OF_LABELS | OF_FOLDERS.keys())}
    others = {name for name, words in texts.items() if words & (INDEX | OF_NAMES)} if telling else set()
    lines = {name: beside.lines(name) for name in sorted(telling | others)}
    rows = {name: [re.split(r"[\s,;]+", line, maxsplit=1) for line in some] for name, some in lines.items()}
    return {name: some for name, some in rows.items() if len({len(row) for row in some}) == 1}


def _indexes(beside: Companions, rows: Mapping[str, list[list[str]]]) -> list[tuple[str, dict[str, str]]]:
    """Lists with a unique id and an image path per line: list name, and image by id."""
    known = beside.known if any(INDEX & _words(name) for name in rows) else {}
    found = []
    for name, told in rows.items():
        if len(told[0]) != 2 or not INDEX & _words(name) or len({row[0] for row in told}) < len(told):
            continue
        images = {row[0]: key for row in told if (key := known.get(folded(forward_slashes(row[1])))) is not None}
        if len(images) >= ALIKE * len(told) and len(images) > 1:
            found.append((name, images))
    return found


def _joined_to(
    index: str, images: Mapping[str, str], rows: Mapping[str, list[list[str]]]
) -> list[tuple[str, dict[str, str]]]:
    """Lists that give nearly every id of an index exactly one value: list name, and value by image."""
    found = []
    for name, told in rows.items():
        if name == index or posixpath.dirname(name) != posixpath.dirname(index) or len(told[0]) != 2:
            continue
        values = {images[one]: value.strip() for one, value in told if one in images}
        if len(told) == len({row[0] for row in told}) and len(values) >= ALIKE * max(len(images), len(told)):
            found.append((name, values))
    return found


def _names_of(codes: set[str], rows: Mapping[str, list[list[str]]], others: set[str]) -> dict[str, str]:
    """Class names by code, from a list with one line per code."""
    for name, told in rows.items():
        if name not in others and len(told[0]) == 2 and OF_NAMES & _words(name):
            called = {code: value.strip() for code, value in told}
            if len(called) == len(told) and codes <= called.keys() and len(set(called.values())) == len(called):
                return called
    return {}


def _numbered(keys: Sequence[str]) -> dict[int, str]:
    """Images of a single folder by the number at the end of their name, if the numbers are consecutive from 0 or 1."""
    found = {int(number[0]): key for key in keys if (number := re.search(r"(?<!\d)\d{1,18}$", stem_of(key)))}
    whole = len(found) == len(keys) > 1 and min(found) in (0, 1) and max(found) - min(found) == len(found) - 1
    return found if whole and len({posixpath.dirname(key) for key in keys}) == 1 else {}


def _in_order(beside: Companions, rows: Mapping[str, list[list[str]]]) -> Joined | None:
    """Labels from a list with as many values as a folder has consecutively numbered images."""
    folders: dict[str, list[str]] = {}
    for key in beside.keys:
        folders.setdefault(posixpath.dirname(key), []).append(key)
    numbered = [images for some in folders.values() if (images := _numbered(some))]
    if not numbered:
        return None
    lists = [(name, [row[0] for row in told]) for name, told in rows.items() if len(told[0]) == 1]
    lists += [
        (name, [str(value) for value in values])
        for name in beside.ending(matlab.SUFFIX)
        for variable, values in _numbers(beside, name).items()
        if OF_LABELS & {word.lower() for word in (*words_of(variable), variable)} or OF_LABELS & _words(name)
    ]
    for name, values in lists:
        images = [some for some in numbered if len(some) == len(values)]
        few = 1 < len(set(values)) <= min(MOST_CLASSES, len(values) / 2)
        if len(images) == 1 and few and OF_LABELS & _words(name) and max(map(len, values)) <= LONGEST:
            (some,) = images
            return Joined(
                {some[n]: value for n, value in enumerate(values, min(some))}, name, "in the order of their numbers"
            )
    return None


def _by_numbers(beside: Companions, name: str) -> Joined | None:
    """Splits from a file's number lists, each named after a split, that together contain every image number exactly once."""
    images = _numbered(beside.keys)
    lists = _numbers(beside, name) if images else {}
    parts = {BEGINNINGS.get(variable[:2].lower()): values for variable, values in lists.items()}
    values = {number: part for part, some in parts.items() if part for number in some}
    if len(set(values.values())) < 2 or len(values) != sum(len(some) for part, some in parts.items() if part):
        return None
    if values.keys() != images.keys():
        return None
    return Joined({images[number]: part for number, part in values.items()}, name, "by their numbers")


def _numbers(beside: Companions, name: str) -> dict[str, list[int]]:
    try:
        return matlab.numbers(beside.data(name), matlab.LARGEST_TABLE)
    except ValueError:
        return {}


def _words(name: str) -> set[str]:
    stem = stem_of(name)
    return {*words_of(stem), stem.lower(), *re.split(r"[-_ ]", stem.lower()), *_ends(stem.lower())}


def _ends(stem: str) -> list[str]:
    """The label word at the end of a name without separators: imagelabels."""
    return [word for word in OF_LABELS if len(word) > 2 and stem.endswith(word)]
