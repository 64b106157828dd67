"""Shared by the readers: expected layouts, directory listings, tables, and files."""

from __future__ import annotations

import errno
import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from dataprops.errors import DatapropsError, printable
from dataprops.sources.folder import EXTENSIONS, SPLITS
from dataprops.sources.table import image_table, shown
from dataprops.util.budget import read_whole
from dataprops.util.guard import said
from dataprops.util.names import ending_of

IMAGES = EXTENSIONS | {".dcm"}


class Image(NamedTuple):
    """One image of a listing; the fields are the columns of `table.image_table`."""

    key: str
    label: str | None
    split: str | None = None
    group: str | None = None


def listing(
    images: Iterable[Image], ignored: Iterable[str] = (), empty: Iterable[str] = (), damaged: Iterable[Image] = ()
) -> pd.DataFrame:
    """Build the table of a source.

    Parameters
    ----------
    ignored, empty : iterable of str
        Files left out, and classes without images.
    damaged : iterable of Image
        Corrupt multi-image files, each as one unreadable image. They stay in the table, as a finding, for any choice of
        classes.
    """
    broken = list(damaged)
    rows = [*images, *broken]
    table = image_table(*(list(column) for column in zip(*rows, strict=True))) if rows else image_table([], [], [], [])
    table.attrs.update(
        ignored=sorted(shown(name) for name in ignored),
        empty_classes=sorted(shown(name) for name in empty),
        damaged=frozenset(image.key for image in broken),
    )
    return table


def missing(source: str, where: Path, tree: str) -> DatapropsError:
    """The error for a tree that differs from the published layout: names the first missing item and shows the tree."""
    return DatapropsError(
        f"{source}: there is no {where}; expected:\n\n{tree.rstrip()}\n\n(see dataprops/sources/README.md)"
    )


def need(source: str, tree: str, folder: Path, *names: str) -> Path:
    """The first of these names (or `Path.glob` patterns) that exists in a folder.

    Raises
    ------
    DatapropsError
        If the folder or every name is missing.
    """
    if not folder.is_dir():
        raise missing(source, folder, tree)
    found = have(folder, *names)
    if found is None:
        raise missing(source, folder / names[0], tree)
    return found


def have(folder: Path, *names: str) -> Path | None:
    """Like `need`, but None if missing."""
    for name in names:
        if any(letter in name for letter in "*?["):
            matches = sorted(path for path in folder.glob(name) if not path.name.startswith("."))
            if matches:
                return matches[0]
        elif (folder / name).exists():
            return folder / name
    return None


def base_of(root: Path, folders: Sequence[str], names: Sequence[str]) -> Path:
    """The root, or the first of the named subfolders that contains one of the names: the parent folder may be given."""
    for folder in (root, *(root / name for name in folders)):
        if have(folder, *names) is not None:
            return folder
    return root


def key_of(path: Path, root: Path) -> str:
    """The key of a path below the root: relative, with forward slashes."""
    return path.relative_to(root).as_posix()


def files_in(folder: Path) -> tuple[list[str], list[str]]:
    """Names of regular and of hidden files below a folder, relative to it, sorted by bytes."""
    names: list[str] = []
    hidden: list[str] = []
    for place, folders, files in os.walk(folder):
        inside = os.path.relpath(place, folder)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            relative = name if inside == "." else f"{inside}/{name}"
            (hidden if name.startswith(".") else names).append(relative)
    return sorted(names, key=os.fsencode), sorted(hidden, key=os.fsencode)


def images_in(folder: Path, extensions: frozenset[str] = IMAGES) -> tuple[list[str], list[str]]:
    """Like `files_in`: names of images, and of all other files."""
    names, others = files_in(folder)
    images = [name for name in names if ending_of(name) in extensions]
    return images, sorted({*names, *others} - set(images), key=os.fsencode)


def folders_in(folder: Path) -> list[Path]:
    """Subfolders that are not hidden, sorted by the bytes of their names."""
    inside = (entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return sorted(inside, key=lambda entry: os.fsencode(entry.name))


def _class_folders(root: Path, names: Mapping[str, str]) -> list[tuple[str | None, str, Path]]:
    """Folders with class names, in the root or in split folders: (split, class, folder)."""
    if not root.is_dir():
        return []
    found = []
    for folder in folders_in(root):
        if folder.name.lower() in names:
            found.append((None, names[folder.name.lower()], folder))
        elif folder.name.lower() in SPLITS:
            split = SPLITS[folder.name.lower()]
            found += [
                (split, names[inner.name.lower()], inner) for inner in folders_in(folder) if inner.name.lower() in names
            ]
    return found


def in_class_folders(
    root: Path, names: Mapping[str, str], patient: re.Pattern[str]
) -> tuple[list[Image], list[str], list[str]] | None:
    """Images of class folders, in the root or in split folders; files left out; empty folders. None without such folders.

    Parameters
    ----------
    names : dict
        Lower-case folder name -> class.
    patient : Pattern
        Searched in the file name; its first matched group is the patient.
    """
    folders = _class_folders(root, names)
    found: list[Image] = []
    ignored: list[str] = []
    empty: list[str] = []
    for split, name, folder in folders:
        images, others = images_in(folder)
        place = key_of(folder, root)
        ignored += [f"{place}/{other}" for other in others]
        if not images:
            empty.append(place)
        found += [
            Image(f"{place}/{image}", name, split, first_group(patient, posixpath.basename(image))) for image in images
        ]
    return (found, ignored, empty) if folders else None


def first_group(pattern: re.Pattern[str], text: str) -> str | None:
    """The first matched group of a pattern."""
    match = pattern.search(text)
    return None if match is None else next((shown(group) for group in match.groups() if group is not None), None)


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Columns of a CSV or Excel table, as text; "" where a cell is empty.

    Raises
    ------
    DatapropsError
        If the table cannot be read or lacks a column.
    """
    import zipfile

    try:
        if path.suffix.lower() in (".xlsx", ".xls"):
            table = pd.read_excel(path, dtype=str, keep_default_na=False)
        else:
            table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:  # includes parsing errors
        raise DatapropsError(f"{path} cannot be read as a table: {said(error)}") from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas has taken the first column as index
        raise DatapropsError(f"{path} has rows with more values than its header has names")
    table.columns = [str(column).strip() for column in table.columns]
    for column in columns:
        if column not in table.columns:
            raise DatapropsError(f"{path} has no column {column!r} (it has {', '.join(table.columns)})")
    return table


def whole(text: str, path: Path, row: int, column: str) -> int:
    """Parse a cell as an integer ("3", "3.0")."""
    try:
        value = float(text)
        if value != int(value):
            raise ValueError
    except (ValueError, OverflowError):
        raise DatapropsError(f"{path}, row {row + 1}, column {column!r}: {text!r} is not a whole number") from None
    return int(value)


def rule_number(rules: Mapping[str, str], name: str, default: int, least: int = 0) -> int:
    """Integer value of a rule; the default if not given."""
    text = rules[name].strip()
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise DatapropsError(f"the rule {name!r} is {text!r}; expected a whole number, at least {least}")
    return int(text)


def read_file(root: Path, key: str) -> bytes:
    """Read a file below the root."""
    file = root / key
    if "\0" in key or (file.exists() and not file.is_file()):  # reading a pipe would block
        raise OSError(errno.EINVAL, "not a file")
    return read_whole(file)


def unreadable(reason: str) -> OSError:
    """An error whose reason `hashing.read_reason` shows for the image."""
    return OSError(errno.EIO, printable(reason))


def numbered(names: Iterable[str]) -> Iterator[tuple[int, str]]:
    """File names with the last number in each, sorted by it: slices of a series ("1-007.dcm" is 7)."""
    found = ((re.findall(r"\d+", Path(name).stem), name) for name in names)
    yield from sorted((int(numbers[-1]), name) for numbers, name in found if numbers)
