"""Resolution of paths in tables to files.

A path may have backslashes, be a ``file:`` URL, be absolute on another machine, or lack folders or the extension. If the paths
exist as written, they are used unchanged. Otherwise the folder is listed once, and each path resolves to the file with the same
name and the most trailing folders in common.
"""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from dataprops.imaging.formats import SURE
from dataprops.sources.account import Decision
from dataprops.sources.table import SourceOptions, shown
from dataprops.sources.volumes import SUFFIXES as VOLUMES
from dataprops.util.names import ending_of, without_ending

SAMPLE = 64  # paths sampled to test whether they exist as written


class Files(NamedTuple):
    """Files below a folder: relative paths by name and by name without extension, both `folded`."""

    by_name: dict[str, list[str]]
    by_stem: dict[str, list[str]]


def forward_slashes(path: str) -> str:
    r"""Normalise a path from another system to forward slashes.

    >>> [forward_slashes(path) for path in (".\\a\\b.png", "file:///data/a%20b.png", " a.png ", "C:\\x\\a.png")]
    ['a/b.png', '/data/a b.png', 'a.png', 'C:/x/a.png']
    """
    text = path.strip().strip('"')
    if text.lower().startswith("file:"):
        text = unquote(re.sub(r"^file:(//(localhost)?)?", "", text, flags=re.IGNORECASE))
        text = text[1:] if re.match(r"/[A-Za-z]:", text) else text
    text = text.replace("\\", "/")
    while text.startswith("./"):
        text = text[2:]
    return text


def folded(name: str) -> str:
    r"""Normalise a name for comparison: lower case, composed Unicode (macOS decomposes it).

    >>> folded("Cafe\u0301.PNG") == folded("caf\u00e9.png")
    True
    """
    return unicodedata.normalize("NFC", name).lower()


def sample_of(paths: Sequence[str]) -> list[str]:
    """An evenly spaced sample of the paths."""
    return list(paths[:: max(1, len(paths) // SAMPLE)])[: 2 * SAMPLE]


def is_file(base: Path, path: str) -> bool:
    """Whether the path exists; other kinds than files are reported when it is read."""
    try:
        return "\0" not in path and os.path.lexists(base / path)
    except (OSError, ValueError):
        return False


def list_files(root: Path) -> Files:
    """List all images and volumes below a folder, except hidden ones."""
    by_name: dict[str, list[str]] = defaultdict(list)
    by_stem: dict[str, list[str]] = defaultdict(list)
    for place, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = os.path.relpath(place, root).replace(os.sep, "/")
        for name in sorted(names):
            ending = ending_of(name)
            if name.startswith(".") or (ending not in SURE and ending and not name.lower().endswith(VOLUMES)):
                continue
            path = name if inside == "." else f"{inside}/{name}"
            by_name[folded(name)].append(path)
            by_stem[folded(without_ending(name))].append(path)
    return Files(dict(by_name), dict(by_stem))


def named(values: Sequence[str], files: Files) -> float:
    """Fraction of a sample of the values that match file names, with or without extension."""
    sample = sample_of(values)
    names = [folded(posixpath.basename(forward_slashes(value))) for value in sample]
    known = files.by_name.keys() | files.by_stem.keys()
    return sum(name in known or without_ending(name) in files.by_stem for name in names) / max(1, len(sample))


def resolve(paths: Sequence[str], base: Path, options: SourceOptions) -> tuple[list[str], list[Decision], int]:
    """Keys of a table's paths, relative to its folder; the decisions made; the number of paths that are not files.

    Parameters
    ----------
    base : Path
        Folder of the table.
    """
    root = root_of(base, options)
    if not options.images and not options.suffix and all(is_file(base, path) for path in sample_of(paths)):
        return list(paths), [], 0
    files = list_files(root)
    keys, found, missing = [], 0, 0
    for path in paths:
        if not options.images and is_file(base, path):
            keys.append(path)
            continue
        key = _one(path, root, files, options)
        found += key is not None
        missing += key is None
        keys.append(path if key is None else _key(root, base, key))
    if not found:
        return list(paths), [], missing
    first = next(i for i, (path, key) in enumerate(zip(paths, keys, strict=True)) if path != key or options.images)
    value = f"{found:,} of {len(paths):,} found below {shown(str(root))}"
    why = f"{shown(paths[first])} is {shown(keys[first])}"
    return keys, [Decision("paths", value, why, "--images, --suffix")], missing


def root_of(base: Path, options: SourceOptions) -> Path:
    """The folder in which a table's files are searched; `base` is the table's folder."""
    if not options.images:
        return base
    given = Path(options.images).expanduser()
    return given.resolve() if given.is_dir() else base / given


def _key(root: Path, base: Path, path: str) -> str:
    whole = os.path.normpath(root / path)
    inside = os.path.relpath(whole, base.resolve() if root.is_absolute() and not base.is_absolute() else base)
    return whole if inside.startswith("..") else inside.replace(os.sep, "/")


def _one(path: str, root: Path, files: Files, options: SourceOptions) -> str | None:
    """The file that a path refers to, relative to the root; None without a match or if several match equally well."""
    text = forward_slashes(path)
    if options.suffix:
        text += options.suffix if options.suffix.startswith(".") else f".{options.suffix}"
    if is_file(root, text) and (root / text).is_file():
        return text
    name = folded(posixpath.basename(text))
    candidates = files.by_name.get(name) or files.by_stem.get(name) or []
    if not candidates and ending_of(name):  # listed as .jpg, stored as .png
        candidates = files.by_stem.get(without_ending(name), [])
    return _closest(text, candidates)


def _closest(path: str, candidates: Iterable[str]) -> str | None:
    """The candidate with the most trailing folders in common with a path; None if tied.

    >>> _closest("/home/me/cat/1.png", ["cat/1.png", "dog/1.png"]), _closest("1.png", ["cat/1.png", "dog/1.png"])
    ('cat/1.png', None)
    """
    own = [folded(part) for part in reversed(path.split("/")[:-1])]

    def shared(candidate: str) -> int:
        parts = [folded(part) for part in reversed(candidate.split("/")[:-1])]
        return next((i for i, (a, b) in enumerate(zip(own, parts, strict=False)) if a != b), min(len(own), len(parts)))

    ranked = sorted(candidates, key=shared, reverse=True)
    if not ranked or (len(ranked) > 1 and shared(ranked[0]) == shared(ranked[1])):
        return None
    return ranked[0]
