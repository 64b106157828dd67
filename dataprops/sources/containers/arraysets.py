"""Selection of image and label arrays in HDF5 and npz files, by name and shape.

Image arrays have three or four dimensions: [n, height, width], [n, height, width, 1, 3 or 4] or [n, 1 or 3, height, width]. If
there are several, each must name a split (``train_images``, ``x_test``). If there is none, rows with a square number of values,
[n, 784], are images too; ``--rule shape=32x32x3`` or ``3x32x32`` sets the shape of other rows. Labels are the only array of
length n named label, labels, y, target or the like, or else the only array of that length. ``--rule images=NAME`` and ``--rule
labels=NAME`` override the selection; ``--rule column=3`` selects one of several labels per image.
"""

from __future__ import annotations

import errno
import math
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from dataprops.errors import DatapropsError
from dataprops.imaging.decode import RawImage
from dataprops.sources import arrays
from dataprops.sources.account import Decision
from dataprops.sources.folder import groups
from dataprops.sources.labels import NO_LABELS, SEPARATOR, joined, words_of
from dataprops.sources.remote.connections import ACCESS
from dataprops.sources.splitnames import SPLITS
from dataprops.sources.table import SourceOptions, chosen_rules, image_table, shown
from dataprops.util.redact import redacted

RULES: dict[str, tuple[str, ...]] = {**ACCESS, "images": (), "labels": (), "groups": (), "column": (), "shape": ()}
LEAST = 49  # minimum values of a row that may be an image
IMAGE_WORDS = frozenset({"x", "image", "images", "img", "imgs", "pixel", "pixels", "data", "pictures", "faces"})
LABEL_WORDS = {"x": ("y", "labels", "label"), "X": ("Y", "y", "labels")}
LABELS_OF_ANY = ("labels", "label", "y", "targets", "target")
PATIENTS = frozenset(
    {"patient", "patients", "patientid", "patientids", "subject", "subjects", "subjectid", "subjectids"}
)
LABELS = frozenset(
    {"ans", "answer", "answers", "label", "labels", "y", "target", "targets", "cls", "class", "classes", "lbl"}
)
MOST = 50_000_000  # maximum images per file; a header that declares more is rejected


class Named(NamedTuple):
    """An array in a file: name, shape, dtype; `encoded` if each element is the bytes of an image file."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    encoded: bool = False


class Part(NamedTuple):
    """Images with their labels and patients (array names), and their split."""

    images: Named
    labels: str | None
    groups: str | None
    split: str | None


def _split(name: str) -> str | None:
    return next((SPLITS[word] for word in words_of(name) if word in SPLITS), None)


def choose(location: str, known: Sequence[Named], options: SourceOptions) -> list[Part]:
    """Select the image and label arrays of a file.

    Raises
    ------
    DatapropsError
        If the choice is ambiguous; the message lists the arrays.
    """
    rules = chosen_rules(options, RULES)
    listed = ", ".join(map(_listed, known)) or "none"
    by_name = {array.name.lstrip("/"): array for array in known}

    def wanted(rule: str) -> Named | None:
        name = rules[rule].lstrip("/")
        if name and name not in by_name:
            raise DatapropsError(f"{redacted(location)} has no array {rules[rule]!r} (--rule {rule}=): it has {listed}")
        return by_name.get(name)

    given = wanted("images")
    able = [array for array in known if array.encoded or (len(array.shape) in (3, 4) and array.dtype.kind in "uifb")]
    # [n, 1, 1, 1] holds labels
    able = [array for array in able if array.encoded or np.prod(array.shape[1:]) > 1]
    where = redacted(location)
    able = [
        shaped(array, options, where)
        for array in ([given] if given else able or [one for one in known if _of_rows(one)])
    ]
    splits = [_split(array.name) for array in able]
    if not able:
        raise DatapropsError(
            f"{where}: it is not clear which array holds the images, as none is of numbers {arrays.SHAPES}; it has {listed}: name it"
            " with --rule images=NAME"
        )
    if len(able) > 1 and (None in splits or len(set(splits)) < len(splits)):
        raise DatapropsError(
            f"{where}: it is not clear which array holds the images; it has {listed}: name it with --rule images=NAME"
            " and --rule labels=NAME"
        )
    parts = []
    for array, split in zip(able, splits, strict=True):
        if not array.encoded:
            check_shape(location, array)
        if array.shape[0] == 0:
            raise DatapropsError(f"{where}: {array.name} is empty, {list(array.shape)}: it holds no images")
        if array.shape[0] > MOST:
            raise DatapropsError(
                f"{redacted(location)}: {array.name} declares {array.shape[0]:,} images: is the file damaged?"
            )
        groups, labels = wanted("groups"), wanted("labels")
        names = {one.name for one in able}
        others = [one for one in known if one.name not in names]
        if groups is None:
            groups = _called(PATIENTS, _fitting(array, others, split))
        if labels is None:
            labels = _labels_of(array, [one for one in others if one is not groups], split)
        for other, rule in ((labels, "labels"), (groups, "groups")):
            if other is not None and (not other.shape or other.shape[0] != array.shape[0]):
                raise DatapropsError(
                    f"{redacted(location)}: {other.name} has shape {list(other.shape)}, expected one for each of the"
                    f" {array.shape[0]} images of {array.name}: name it with --rule {rule}=NAME"
                )
        parts.append(Part(array, labels and labels.name, groups and groups.name, split))
    return parts


def _listed(array: Named) -> str:
    """Name and shape, and the dtype if it is not one of pixels."""
    kind = "" if array.dtype.kind in "uifb" or array.encoded else f" of {array.dtype}"
    return f"{array.name} {list(array.shape)}{kind}"


def _of_rows(array: Named) -> bool:
    """Whether an array has one row of values per image: integers, or floats in an array named like images."""
    if len(array.shape) != 2 or array.shape[1] < LEAST or array.encoded:
        return False
    words = {word.rstrip("0123456789") for word in words_of(posixpath.basename(array.name))}
    return array.dtype.kind in "uib" or (array.dtype.kind == "f" and bool(words & IMAGE_WORDS))


def shaped(array: Named, options: SourceOptions, where: str = "") -> Named:
    """An array of rows with the shape of its images; others are returned unchanged.

    Parameters
    ----------
    where : str
        File name for the message.

    Raises
    ------
    DatapropsError
        If the rule `shape` does not fit, or is required but missing.

    >>> shaped(Named("x", (9, 784), np.dtype("u1")), SourceOptions()).shape
    (9, 28, 28)
    """
    if len(array.shape) != 2 or array.encoded:
        return array
    n, values = array.shape
    rule = next((rule.removeprefix("shape=") for rule in options.rules if rule.startswith("shape=")), "")
    side = math.isqrt(values)
    if not rule and side * side == values:
        return array._replace(shape=(n, side, side))
    sides = tuple(int(part) for part in rule.split("x")) if re.fullmatch(r"\d+x\d+(x\d+)?", rule) else ()
    if not sides or math.prod(sides) != values:
        said = f"; the rule 'shape' is {rule!r}" if rule else ""
        third = math.isqrt(values // 3)
        like = f"{third}x{third}x3 or 3x{third}x{third}" if third * third * 3 == values else "28x28"
        raise DatapropsError(
            f"{where and f'{where}: '}{array.name} has rows of {values:,} values{said}: say what shape they have, such as"
            f" --rule shape={like}"
        )
    return array._replace(shape=(n, *sides))


def told_shapes(parts: Sequence[Part], known: Iterable[Named]) -> list[Decision]:
    """Decisions about rows taken for images, and about a fourth channel."""
    own = {array.name: array.shape for array in known}
    told = []
    for name, shape in {part.images.name: part.images.shape for part in parts}.items():
        sides = " x ".join(map(str, shape[1:]))
        if len(own[name]) == 2 and len(shape) > 2:
            why = f"{name} has rows of {own[name][1]:,} values"
            told.append(Decision("shape", f"images of {sides}", why, "--rule shape=HEIGHTxWIDTH"))
        elif len(shape) == 4 and shape[-1] == 4 and shape[1] not in (1, 3):
            why = f"{name} has a fourth channel"
            told.append(Decision("shape", f"images of {sides}, RGBA over black", why, "saving three channels"))
    return told


def _labels_of(images: Named, others: Sequence[Named], split: str | None) -> Named | None:
    fitting = _fitting(images, others, split)
    return _called(LABELS, fitting) or (fitting[0] if len(fitting) == 1 else None)


def _fitting(images: Named, others: Sequence[Named], split: str | None) -> list[Named]:
    """Arrays with as many values as there are images, of the same split."""
    return [one for one in others if one.shape and one.shape[0] == images.shape[0] and _split(one.name) == split]


def _called(words: frozenset[str], arrays: Sequence[Named]) -> Named | None:
    """The only array with one of these words in its name."""
    found = [array for array in arrays if words & set(words_of(posixpath.basename(array.name)))]
    return found[0] if len(found) == 1 else None


def told_others(parts: Sequence[Part], known: Sequence[Named], options: SourceOptions) -> list[Decision]:
    """The array that holds the patients and, if none was taken for labels, candidates for labels."""
    told = []
    asked = {rule.partition("=")[0] for rule in options.rules}
    groups = sorted({part.groups for part in parts if part.groups})
    if groups and "groups" not in asked:
        told.append(Decision("groups", ", ".join(groups), "by the name of the array", "--rule groups=NAME"))
    for part in parts:
        fitting = [one.name for one in _fitting(part.images, known, part.split) if one.name != part.images.name]
        if part.labels is None and "labels" not in asked and len(fitting) > 1:
            why = f"{', '.join(fitting[:4])} have a value for each of the images of {part.images.name}"
            told.append(Decision("labels", "none", why, "--rule labels=NAME"))
    return told


def check_shape(location: str, array: Named) -> None:
    """Reject arrays that cannot hold images, or whose images are too large.

    Raises
    ------
    DatapropsError
        With the shape.
    """
    shape = array.shape
    if (
        len(shape) not in (3, 4)
        or (len(shape) == 4 and not {shape[1], shape[-1]} & {1, 3} and shape[-1] != 4)
        or array.dtype.kind not in "uifb"
    ):
        raise DatapropsError(
            f"{redacted(location)}: {array.name} is {array.dtype} of shape {list(shape)}, expected numbers {arrays.SHAPES}"
            + (
                "; these look like volumes: save their slices, or volumes as NIfTI"
                if len(shape) == 4 and min(shape[1:]) > 4
                else ""
            )
        )
    if np.prod(shape[1:], dtype=float) > 3 * 2 * (Image.MAX_IMAGE_PIXELS or 2**27):
        raise DatapropsError(
            f"{redacted(location)}: {array.name} declares images of {list(shape[1:])}: is the file damaged?"
        )


def label_texts(location: str, name: str, values: np.ndarray, column: str) -> list[str | None]:
    """Labels as text, one per image: for rows of 0 and 1, the column numbers that are 1.

    Raises
    ------
    DatapropsError
        If an image has several values other than 0 and 1.
    """
    flat = values.reshape(len(values), -1)
    if flat.shape[1] > 1 and not column and flat.dtype.kind in "uifb" and len(flat) and np.isin(flat, (0, 1)).all():
        width = len(str(flat.shape[1] - 1)) if (flat.sum(1) != 1).any() else 1
        return [joined(f"{at:0{width}d}" for at in np.nonzero(row)[0]) for row in flat]
    if flat.shape[1] != 1:
        if not column.isdigit() or int(column) >= flat.shape[1]:
            raise DatapropsError(
                f"{redacted(location)}: {name} has {flat.shape[1]} labels for each image: choose one with --rule column=0 to"
                f" column={flat.shape[1] - 1}"
            )
        flat = flat[:, int(column) : int(column) + 1]
    return [arrays.label_text(value) for value in flat[:, 0].tolist()]


def part_table(
    location: str, parts: Sequence[Part], texts: Mapping[str, list[str | None]], options: SourceOptions
) -> pd.DataFrame:
    """The table of the images in these parts; `texts` holds the values of label and group arrays by name."""
    columns: dict[str, list] = {name: [] for name in ("key", "label", "split", "group")}
    for part in parts:
        n = part.images.shape[0]
        width = len(str(max(n - 1, 0)))
        columns["key"] += [f"{part.images.name.lstrip('/')}/{row:0{width}d}" for row in range(n)]
        columns["split"] += [part.split if len(parts) > 1 else None] * n
        for column, name in (("label", part.labels), ("group", part.groups)):
            columns[column] += texts[name] if name else [None] * n
    if not columns["key"]:
        raise DatapropsError(f"{redacted(location)} holds no images")
    if options.group_pattern is not None:
        columns["group"] = groups([shown(key) for key in columns["key"]], options.group_pattern)
    table = image_table(**columns)
    table.attrs.update(ignored=[], empty_classes=[])
    if any(label == NO_LABELS or SEPARATOR in (label or "") for label in columns["label"]):
        table.attrs["several"] = True
    return table


def beside(name: str, names: Iterable[str]) -> str | None:
    """The label file of an image file: the same name but for one word.

    >>> beside("x_train.npy", ["x_train.npy", "y_train.npy"]), beside("X.npy", ["X.npy", "Y.npy"]), beside("a.npy", ["b.npy"])
    ('y_train.npy', 'Y.npy', None)
    """
    there = set(names)
    for found in re.finditer(r"(?<![A-Za-z])(x|images?|imgs?|data|inputs?)(?![A-Za-z])", name, re.IGNORECASE):
        for word in LABEL_WORDS.get(found[1].lower() if found[1] != "X" else "X", LABELS_OF_ANY):
            other = name[: found.start()] + word + name[found.end() :]
            if other in there and other != name:
                return other
    return None


def key_parts(key: str) -> tuple[str, int]:
    """Array name and row number of a key.

    Raises
    ------
    OSError
        If the key is invalid.
    """
    name, _, row = key.rpartition("/")
    if not row.isdigit():
        raise OSError(errno.ENOENT, "there is no such row")
    return name, int(row)


def as_image(pixels: np.ndarray) -> RawImage:
    """One image of an array; axes as in the module's docstring."""
    first = pixels.ndim == 3 and pixels.shape[-1] not in (1, 3) and pixels.shape[0] in (1, 3)
    return arrays.raw_image(pixels, channels_first=first)
