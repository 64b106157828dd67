"""A folder laid out as class/file, split/class/file, or as `structure` infers."""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.imaging import dicom_header
from dataprops.imaging.decode import RawImage
from dataprops.imaging.formats import HEAD, SURE, is_image
from dataprops.sources import masks, onearray
from dataprops.sources.account import (
    COMPANIONS,
    COPY,
    DERIVED,
    FOREIGN,
    HIDDEN,
    IRREGULAR,
    LINKED,
    UNLISTED,
    WAYS_OUT,
    Decision,
    decide,
    told,
    why_left_out,
)
from dataprops.sources.beside import with_tables
from dataprops.sources.companions import LARGEST
from dataprops.sources.filenames import remarks_on_names, splits_of_names
from dataprops.sources.splitnames import SPLITS
from dataprops.sources.structure import Structure, infer, second_copies
from dataprops.sources.subjects import BIDS, BIDS_OTHERS
from dataprops.sources.table import SourceOptions, image_table, shown
from dataprops.util.budget import read_whole
from dataprops.util.names import ending_of

__all__ = ["EXTENSIONS", "IMAGES", "SPLITS", "groups", "has_image", "layout", "listed", "read", "scan"]

log = logging.getLogger(__name__)

EXTENSIONS = SURE
IMAGES = (
    f"images (looked for {' '.join(sorted(ending[1:] for ending in EXTENSIONS))},"
    " and checked the content of files with other suffixes)"
)
# Never images, so not opened to check
OTHERS = COMPANIONS | {".raw", ".mp4", ".avi", ".mov", ".mkv", ".py", ".pyc", ".wav", ".mp3"}


# Part of a file name -> the source that reads these files
PUBLISHED = (
    *(("-idx3-ubyte", "mnist"), ("data_batch_", "cifar10"), ("_32x32.mat", "svhn"), ("train_X.bin", "stl10")),
    *(("cifar-100-", "cifar100"), ("fine_label_names", "cifar100")),
)
SYSTEM = frozenset({"__MACOSX", "@eaDir"})  # resource forks (macOS) and thumbnails (Synology)


def scan(location: str, options: SourceOptions) -> pd.DataFrame:
    """List the images below a folder; see `sources.Source`.

    Classes, splits and patients are inferred from the folders (`structure`); masks beside images are left out (`masks`). Files with an
    unknown suffix are identified by their first bytes. Everything left out is listed with its reason: hidden files, files that are not
    images, pipes, sockets and devices, folders that cannot be listed, and links to a folder that was already visited (which ends
    loops; real folders are visited before links).

    Raises
    ------
    DatapropsError
        If the folder does not exist, cannot be listed, or holds no image.
    """
    root = _directory(location)
    keys, ignored, folders = _walk(root, _is_image)
    files = [root / name for name in ignored if name.lower().endswith(onearray.SUFFIXES)]
    of_arrays = not keys and onearray.are_images(files)
    if of_arrays:
        keys, ignored, folders = _walk(root, _is_array)
    table = layout(location, keys, ignored, folders, options)
    if of_arrays:
        _tell_arrays(table, root)
    return with_tables(table, lambda key: _beside(root / key), options)


def _beside(file: Path) -> bytes:
    """Read a file beside the images. Raises OSError if it is too large to be a table of them."""
    size = file.stat().st_size
    if size > LARGEST:
        raise OSError(errno.EFBIG, "it is too large")
    return file.read_bytes() if size else b""


def _is_array(entry: os.DirEntry) -> bool:
    return entry.name.lower().endswith(onearray.SUFFIXES) and is_there(entry)


def _tell_arrays(table: pd.DataFrame, root: Path) -> None:
    why = f"there are no image files, and {len(table):,} arrays with the shape of one image each"
    decide(table, Decision("images", "every .npy and .npz is one image", why, "giving one of these files"))
    if table["label"].isna().all():
        table["label"] = pd.Series([onearray.label(root / key) for key in table["key"]], dtype=object)


def listed(location: str, options: SourceOptions, wanted: Callable[[os.DirEntry], bool], what: str) -> pd.DataFrame:
    """List the selected files below a folder, with class, split and group as in `scan`.

    Parameters
    ----------
    wanted : callable
        wanted(entry) -> whether to list it; called for entries that are not directories.
    what : str
        What `wanted` selects, for the error message.

    Raises
    ------
    DatapropsError
        As `scan`.
    """
    return layout(location, *_walk(_directory(location), wanted), options, what, tell=False)


def _directory(location: str) -> Path:
    root = Path(location)
    if not root.is_dir():
        raise DatapropsError(
            f"{location} is not a directory: give a folder of images, a manifest (.csv, .parquet), or NAME:LOCATION"
        )
    return root


def _instead(location: str, ignored: Mapping[str, str], volumes: Sequence[str], folders: Sequence[str]) -> str:
    """A hint for the error message: what a folder without images holds instead, and how to read it."""
    if volumes:
        return f"; it holds NIfTI volumes such as {shown(volumes[0])}: give it as nifti:{location}"
    if source := next((source for part, source in PUBLISHED if any(part in name for name in ignored)), None):
        return f"; its files are named like those of a published dataset: give it as {source}:{location}"
    if unread := [name for name, reason in ignored.items() if reason == FOREIGN]:
        return (
            f"; it holds {len(unread):,} in a format that is not read, such as {shown(min(unread))}: save them as PNG"
        )
    arrays = [name for name in ignored if name.lower().endswith((".npy", ".npz"))]
    if len(arrays) > 1:
        what = "give that file itself if it holds many images, or save the slices of volumes as images"
        return f"; it holds {len(arrays):,} arrays such as {shown(min(arrays))}, not one image each: {what}"
    if found := arrays or [name for name in ignored if name.lower().endswith((".csv", ".zip"))]:
        more = ", with --images DIR if its images are elsewhere" if found[0].lower().endswith(".csv") else ""
        way = f"give that file itself{more}" if os.path.isdir(location) else "unpack it, and give the folder"  # noqa: PTH112
        return f"; it holds {shown(min(found))}: {way}"
    endings = {name: Path(name).suffix.lower() for name in ignored}
    ways = {name: WAYS_OUT[ending] for name, ending in endings.items() if ending in WAYS_OUT and ending != ".txt"}
    if ways:
        first = min(ways)
        return f"; it holds {shown(first)}{' and others' if len(ways) > 1 else ''}: {ways[first]}"
    others = [name for name, reason in ignored.items() if reason != HIDDEN]
    if others:
        kinds = f"it holds files of other kinds ({len(others):,}), such as {shown(min(others))}"
        return f"; {kinds}: give the folder or the container that holds the images"
    if ignored:
        empty = f"it holds hidden files only, such as {shown(min(ignored))}"
    else:
        empty = f"its folders are empty, such as {shown(min(folders))}" if folders else "it is empty"
    return f"; {empty}: give the folder that holds the images"


def layout(
    location: str,
    keys: list[str],
    ignored: dict[str, str],
    folders: list[str],
    options: SourceOptions,
    what: str = IMAGES,
    tell: bool = True,
) -> pd.DataFrame:
    """The table of images of a folder, an archive or a remote prefix.

    Parameters
    ----------
    keys : list of str
        Relative paths of the images, with forward slashes.
    ignored : dict
        File left out -> reason.
    folders : list of str
        All folders, to report classes without images.
    what : str
        What was looked for, for the error message.
    tell : bool
        Whether to warn about NIfTI volumes left out.

    Raises
    ------
    DatapropsError
        If there are no images, or none is left by --include and --exclude.
    """
    volumes = [name for name in ignored if name.lower().endswith((".nii", ".nii.gz"))]
    if not keys:
        hint = _instead(location, ignored, volumes, folders)
        raise DatapropsError(f"{location} holds no {what} in class/file or split/class/file{hint}")
    if volumes and tell:
        log.warning(
            "%d NIfTI volumes (first: %s) were left out: audit them as nifti:%s",
            len(volumes),
            shown(volumes[0]),
            location,
        )
    kept, left_out, decisions = chosen(location, keys, options)
    found = infer(kept, options.layout or None)
    told_names = () if len(set(found.label)) > 1 or options.layout or options.label_pattern else remarks_on_names(kept)
    own = groups(kept, options.group_pattern)
    group = found.group if options.group_pattern is None else own
    split, told_split = splits_of_names(kept) if not any(found.split) and not options.layout else (found.split, ())
    table = image_table(key=kept, label=found.label, split=split, group=group)
    return told(
        table,
        {shown(name): reason for name, reason in sorted((ignored | left_out).items(), key=_bytes_of)},
        [shown(name) for name in sorted(_empty(kept, folders, found), key=os.fsencode)],
        [*decisions, *found.decisions, *told_split, *told_names],
    )


def _bytes_of(item: tuple[str, str]) -> bytes:
    return os.fsencode(item[0])


def chosen(location: str, keys: list[str], options: SourceOptions) -> tuple[list[str], dict[str, str], list[Decision]]:
    """Select images: matched by --include and --exclude, without masks, derived data and second copies of the dataset.

    Returns
    -------
    kept : list of str
    left_out : dict
        Key -> reason.
    decisions : list of Decision

    Raises
    ------
    DatapropsError
        If none is left.
    """
    kept, left_out, decisions = masks.choose(keys, options.include, options.exclude)
    if not options.include:
        tops = {key.partition("/")[0] for key in kept}
        if any(BIDS.fullmatch(top) for top in tops):
            derived = [key for key in kept if key.partition("/")[0] in BIDS_OTHERS]
            left_out |= dict.fromkeys(derived, DERIVED)
            kept = [key for key in kept if key not in left_out]
        if copies := second_copies(kept):
            top = next(iter(copies.values()))
            left_out |= dict.fromkeys(copies, COPY)
            kept = [key for key in kept if key not in copies]
            why = f"all its files also exist outside {shown(top)} under the same names"
            decisions.append(Decision("copies", f"{shown(top)} left out, {len(copies):,} files", why, "--include '*'"))
    if not kept:
        raise DatapropsError(f"{location}: --include and --exclude leave none of its {len(keys):,} images")
    return kept, left_out, decisions


def _empty(keys: list[str], folders: list[str], found: Structure) -> list[str]:
    """Folders at the level of the classes without images, relative to the root."""
    depth, root = found.depth, found.root
    inner = [key[len(root) :] for key in keys]
    labelled = {"/".join(key.split("/")[: depth + 1]) for key in inner if key.count("/") > depth}
    if not any(found.label):
        return []
    outer = {key.partition("/")[0] for key, split in zip(inner, found.split, strict=True) if split} if depth else set()
    return [
        name
        for folder in folders
        if folder.startswith(root) and (name := folder[len(root) :])
        if name.count("/") == depth and name not in labelled and (not depth or name.partition("/")[0] in outer)
    ]


def _walk(root: Path, wanted: Callable[[os.DirEntry], bool]) -> tuple[list[str], dict[str, str], list[str]]:
    """Images, ignored files with reasons, and folders, as relative paths with forward slashes."""
    keys: list[str] = []
    ignored: dict[str, str] = {}
    folders: list[str] = []
    seen: set[str] = set()
    waiting = [""]
    links: list[str] = []
    while waiting or links:
        if not waiting:  # links last and sorted: which path of a folder is used must not depend on the directory order
            links.sort(key=os.fsencode, reverse=True)
            waiting.append(links.pop())
        folder = waiting.pop()
        real = os.path.realpath(root / folder)
        if real in seen:
            ignored[folder] = LINKED
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
            ignored[folder] = UNLISTED
            continue
        if folder:
            folders.append(folder)
        for entry in entries:
            key = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith(".") or entry.name in SYSTEM:
                ignored[key] = why_left_out(key)
            elif _is_folder(entry):
                if entry.is_symlink():
                    links.append(key)
                else:
                    waiting.append(key)
            elif wanted(entry):
                keys.append(key)
            elif is_special(entry):
                ignored[key] = IRREGULAR
            else:
                ignored[key] = why_left_out(key, b"" if ending_of(entry.name) in OTHERS else _head(entry))
    return sorted(keys, key=os.fsencode), ignored, folders


def has_image(root: Path) -> bool:
    """Whether there is a file with an image suffix anywhere below."""
    return any(
        ending_of(name) in EXTENSIONS
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
    """Decide by the suffix if that is certain, else by the first bytes."""
    ending = ending_of(entry.name)
    if ending in EXTENSIONS:
        return is_there(entry)
    return ending not in OTHERS and is_image(_head(entry), entry.name)


def _head(entry: os.DirEntry) -> bytes:
    """The first bytes of a file; empty if it is not a regular file, has no size (see `read_whole`) or cannot be opened."""
    try:
        if not entry.is_file() or not entry.stat().st_size:
            return b""
        with open(entry.path, "rb", buffering=0) as file:  # noqa: PTH123 - a million names, no Path for each
            return file.read(HEAD)
    except OSError:
        return b""


def is_there(entry: os.DirEntry) -> bool:
    """Whether it is a regular file or a broken link (reported as unreadable); not a pipe, since opening one may block."""
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))  # noqa: PTH110
    except OSError:
        return True


def is_special(entry: os.DirEntry) -> bool:
    """Whether it is a pipe, a socket or a device."""
    try:
        return not entry.is_file() and not entry.is_dir() and os.path.exists(entry.path)  # noqa: PTH110 - as `is_there`
    except OSError:
        return False


def begins_as_dicom(entry: os.DirEntry) -> bool:
    """Whether a file begins like a DICOM file and is not a DICOMDIR."""
    return entry.name.upper() != "DICOMDIR" and dicom_header.is_dicom(_head(entry)[: dicom_header.HEAD])


def groups(keys: list[str], pattern: str | None, what: str = "group") -> list[str | None]:
    """The patient (or what `what` names, such as the label) in each path by a regular expression; see `SourceOptions`.

    Raises
    ------
    DatapropsError
        If the pattern is invalid or has no group.
    """
    if pattern is None:
        return [None] * len(keys)
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise DatapropsError(f"the {what} pattern {pattern!r} is not a valid regular expression: {error}") from error
    if not compiled.groups:
        named = "patient" if what == "group" else what
        raise DatapropsError(
            f"the {what} pattern {pattern!r} has no capture group: put ( ) around the part that identifies the {named}"
        )
    number = compiled.groupindex.get(what, 1)
    found = (compiled.search(shown(key)) for key in keys)
    return [match.group(number) if match else None for match in found]


def read(location: str, key: str, options: SourceOptions) -> bytes | RawImage:
    """Read one file: its bytes, or the array of a .npy or .npz file. Raises OSError."""
    if key.lower().endswith(onearray.SUFFIXES):
        return onearray.read(Path(location) / key)
    return read_whole(os.path.join(location, key))  # noqa: PTH118 - a million files, no Path for each
