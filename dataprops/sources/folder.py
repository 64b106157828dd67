"""A folder laid out as class/file or split/class/file."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.imaging import dicom
from dataprops.sources.table import SourceOptions, image_table, shown

log = logging.getLogger(__name__)

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", *dicom.SUFFIXES})
IMAGES = f"images (looked for {' '.join(sorted(ending[1:] for ending in EXTENSIONS))})"
# Companions of images: all other files are asked by their first bytes whether they are DICOM
OTHERS = frozenset(
    f".{ending}"
    for ending in (
        *("bib", "bz2", "cfg", "csv", "db", "doc", "docx", "gif", "gz", "h5", "hdf5", "hdr"),
        *("htm", "html", "ini", "ipynb", "json", "jsonl", "lock", "log", "mat", "md", "mha", "mhd"),
        *("mp4", "nii", "npy", "npz", "nrrd", "parquet", "pdf", "pickle", "pkl", "ps1", "pt", "pth"),
        *("py", "raw", "rst", "sh", "svg", "tar", "tex", "tfrecord", "toml", "tsv", "txt", "xls"),
        *("xlsx", "xml", "xz", "yaml", "yml", "zip", "zst"),
    )
)
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
    ``attrs["ignored"]``: hidden files, files with other extensions (but DICOM files are known by their first bytes, whatever
    they are called), what is no file (a pipe), folders that cannot be listed, and links to a folder that is walked already
    (so loops end; a real folder goes before a link to it).

    Raises
    ------
    DatapropsError
        If the folder does not exist or holds no image.
    """
    return listed(location, options, _is_image, IMAGES)


def listed(location: str, options: SourceOptions, wanted: Callable[[os.DirEntry], bool], what: str) -> pd.DataFrame:
    """The files below a folder that are wanted, with class, split and group as `scan` says.

    Parameters
    ----------
    wanted : callable
        wanted(entry) -> whether a file counts; called with what is no folder.
    what : str
        What was looked for, for the message when there is none.
    """
    root = Path(location)
    if not root.is_dir():
        raise DatapropsError(
            f"{location} is no folder: give a folder of images, a manifest (.csv, .parquet), or NAME:LOCATION"
        )
    return layout(location, *_walk(root, wanted), options, what, tell=wanted is _is_image)


def layout(
    location: str,
    keys: list[str],
    ignored: list[str],
    folders: list[str],
    options: SourceOptions,
    what: str = IMAGES,
    tell: bool = True,
) -> pd.DataFrame:
    """The table of images by their relative paths with forward slashes, of a folder or of what holds one.

    Parameters
    ----------
    what : str
        What was looked for, for the message when there is none.
    tell : bool
        Whether to warn of volumes that are left out.

    Raises
    ------
    DatapropsError
        If there is no image.
    """
    volumes = [name for name in ignored if name.lower().endswith((".nii", ".nii.gz"))]
    if not keys:
        hint = f"; it holds NIfTI volumes such as {shown(volumes[0])}: give it as nifti:{location}" if volumes else ""
        raise DatapropsError(f"{location} holds no {what} in class/file or split/class/file{hint}")
    if volumes and tell:
        log.warning(
            "%d NIfTI volumes (first: %s) were left out: audit them as nifti:%s",
            len(volumes),
            shown(volumes[0]),
            location,
        )
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


def _walk(root: Path, wanted: Callable[[os.DirEntry], bool]) -> tuple[list[str], list[str], list[str]]:
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
            elif wanted(entry):
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
    """By its name; a file of an unknown kind also by its first bytes."""
    ending = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - a million names, no Path for each
    return is_there(entry) if ending in EXTENSIONS else ending not in OTHERS and begins_as_dicom(entry)


def is_there(entry: os.DirEntry) -> bool:
    """Whether it is a file. A link that leads nowhere counts, as an unreadable one. A pipe would block who reads it."""
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))  # noqa: PTH110
    except OSError:
        return True


def begins_as_dicom(entry: os.DirEntry) -> bool:
    """Whether a file begins like a DICOM file; the directory of a disc does, too, and is none."""
    try:
        if entry.name.upper() == "DICOMDIR" or not entry.is_file():
            return False
        with open(entry.path, "rb", buffering=0) as file:  # noqa: PTH123 - see _is_image
            return dicom.is_dicom(file.read(dicom.HEAD))
    except OSError:
        return False


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
