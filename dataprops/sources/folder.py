"""A folder laid out as class/file or split/class/file."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.sources.table import SourceOptions, image_table, shown

log = logging.getLogger(__name__)

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}


def scan(location: str, options: SourceOptions) -> pd.DataFrame:
    """List the images below a folder; see `sources.Source`.

    Top-level folders are classes; or splits, if every one that holds images is named like a split. Deeper folders
    belong to their class. Images that lie in no class folder have no label. What is left out is listed in
    ``attrs["ignored"]``: hidden files, files with other extensions, what is no file (a pipe), folders that cannot be
    listed, and links to a folder that is walked already (so loops end; a real folder goes before a link to it).

    Raises
    ------
    DatapropsError
        If the folder does not exist or holds no image.
    """
    root = Path(location)
    if not root.is_dir():
        raise DatapropsError(
            f"{location} is no folder: give a folder of images, a manifest (.csv, .parquet), or NAME:LOCATION"
        )
    return layout(location, *_walk(root), options)


def layout(
    location: str, keys: list[str], ignored: list[str], folders: list[str], options: SourceOptions
) -> pd.DataFrame:
    """The table of images by their relative paths with forward slashes, of a folder or of what holds one.

    Raises
    ------
    DatapropsError
        If there is no image.
    """
    if not keys:
        extensions = " ".join(sorted(ext[1:] for ext in EXTENSIONS))
        raise DatapropsError(f"{location} holds no images (looked for {extensions} in class/file or split/class/file)")
    parts = [key.split("/") for key in keys]
    tops = {part[0] for part in parts if len(part) > 1}
    split_of = {top: SPLITS[top.lower()] for top in tops} if tops and all(t.lower() in SPLITS for t in tops) else {}
    group = groups(keys, options.group_pattern)
    depth = 1 if split_of else 0
    table = image_table(
        key=keys,
        label=[shown(part[depth]) if len(part) > depth + 1 else None for part in parts],
        split=[split_of.get(part[0]) if len(part) > 1 else None for part in parts],
        group=group,
    )
    label_folders = {"/".join(part[: depth + 1]) for part in parts if len(part) > depth + 1}
    empty = [
        folder
        for folder in folders
        if folder.count("/") == depth
        and folder not in label_folders
        and (not depth or folder.split("/")[0] in split_of)
    ]
    table.attrs.update(
        ignored=[shown(name) for name in ignored],
        empty_classes=[shown(name) for name in sorted(empty, key=os.fsencode)],
    )
    return table


def _walk(root: Path) -> tuple[list[str], list[str], list[str]]:
    """Keys of images, of ignored files, and of folders, relative and with forward slashes, in order of their bytes."""
    keys: list[str] = []
    ignored: list[str] = []
    folders: list[str] = []
    seen: set[str] = set()
    waiting = [""]
    links: list[str] = []
    while waiting or links:
        if not waiting:  # links last: which of two names of a folder counts must not depend on the order of the disk
            links.sort(key=os.fsencode, reverse=True)
            waiting.append(links.pop())
        folder = waiting.pop()
        real = os.path.realpath(root / folder)
        if real in seen:
            ignored.append(folder)
            continue
        seen.add(real)
        try:
            with os.scandir(root / folder) as listing:
                entries = list(listing)
        except OSError as error:
            if not folder:
                raise DatapropsError(
                    f"{root} cannot be listed: {error.strerror}: give a folder you may read"
                ) from error
            log.warning("the folder %s cannot be listed (%s) and was left out", shown(folder), error.strerror)
            ignored.append(folder)
            continue
        if folder:
            folders.append(folder)
        for entry in entries:
            key = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith("."):
                ignored.append(key)
            elif _is_folder(entry):
                if entry.is_symlink():
                    links.append(key)
                else:
                    waiting.append(key)
            elif _is_image(entry):
                keys.append(key)
            else:
                ignored.append(key)
    return sorted(keys, key=os.fsencode), sorted(ignored, key=os.fsencode), folders


def has_image(root: Path) -> bool:
    """Whether there is an image anywhere below; ends at the first."""
    return any(
        os.path.splitext(name)[1].lower() in EXTENSIONS  # noqa: PTH122
        for _, _, names in os.walk(root, followlinks=False)
        for name in names
        if not name.startswith(".")
    )


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_image(entry: os.DirEntry) -> bool:
    """By its name. A link that leads nowhere counts, as an unreadable image. A pipe would block who reads it."""
    if os.path.splitext(entry.name)[1].lower() not in EXTENSIONS:  # noqa: PTH122 - a million names, no Path for each
        return False
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))  # noqa: PTH110
    except OSError:
        return True


def groups(keys: list[str], pattern: str | None) -> list[str | None]:
    """The patient of each path by a regular expression; see `SourceOptions`."""
    if pattern is None:
        return [None] * len(keys)
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise DatapropsError(f"the group pattern {pattern!r} is no regular expression: {error}") from error
    if not compiled.groups:
        raise DatapropsError(f"the group pattern {pattern!r} has no group: put ( ) around what names the patient")
    number = compiled.groupindex.get("group", 1)
    found = (compiled.search(shown(key)) for key in keys)
    return [match.group(number) if match else None for match in found]


def read(location: str, key: str, options: SourceOptions) -> bytes:
    """The bytes of one file."""
    return (Path(location) / key).read_bytes()
