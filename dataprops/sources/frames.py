"""Multi-frame DICOM: ``dicom:FOLDER`` or ``dicom:MANIFEST``. Scanning reads all headers.

The key of a single-frame file is its path; that of frame i (from 1) of several is ``path#frame=i``. Classes, splits and groups come
from the folders or the manifest, as for single images; patients, studies and series are hashes of ids in the files.

Rules: ``frames=all`` (default), ``frames=middle`` (one per file) or ``frames=N`` (every N-th, since neighbouring frames of a cine
loop or a volume are nearly identical); ``label=KEYWORD`` takes the label from a DICOM element that identifies no person.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.imaging import dicom_frames, dicom_header
from dataprops.imaging.decode import quiet
from dataprops.sources import folder, manifest
from dataprops.sources.table import SourceOptions, chosen_rules, image_table
from dataprops.util.budget import read_whole
from dataprops.util.cache import Cache
from dataprops.util.guard import guarded, reason_of
from dataprops.util.names import word_table

MARK = "#frame="
LABELS = word_table("""
    folder Modality BodyPartExamined ViewPosition Laterality ImageLaterality ScanningSequence ConvolutionKernel
    Manufacturer ManufacturerModelName
    """)
RULES: dict[str, tuple[str, ...]] = {"frames": (), "label": LABELS}
HELD_BYTES = 2**29


def is_manifest(location: str) -> bool:
    """Whether a location is a manifest rather than a folder."""
    return location.lower().endswith(manifest.SUFFIXES)


def base(location: str) -> Path:
    """The folder to which keys are relative."""
    path = Path(location)
    return path if path.is_dir() else path.parent


def scan(location: str, options: SourceOptions) -> pd.DataFrame:
    """List the frames; see `sources.Source`.

    Raises
    ------
    DatapropsError
        If there are no files, or a rule is invalid.
    """
    rules = chosen_rules(options, RULES)
    step = _step(rules["frames"] or "all")
    files = (
        manifest.scan(location, options)
        if is_manifest(location)
        else folder.listed(location, options, _is_dicom, "DICOM files")
    )
    root, tag = base(location), None if rules["label"] == "folder" else rules["label"]
    look = functools.partial(_look, tag=tag)
    with quiet(), ThreadPoolExecutor(8) as pool:
        looks = list(pool.map(look, (root / key for key in files["key"])))
    keys, rows, labels = [], [], []
    for row, (key, (frames, label)) in enumerate(zip(files["key"], looks, strict=True)):
        for name in _keys(key, frames, step):
            keys.append(name)
            rows.append(row)
            labels.append(files["label"].iloc[row] if tag is None else label)
    table = image_table(keys, labels, files["split"].iloc[rows].tolist(), files["group"].iloc[rows].tolist())
    table.attrs.update(files.attrs)
    return table


def _is_dicom(entry: os.DirEntry) -> bool:
    if entry.name.lower().endswith(dicom_header.SUFFIXES):
        return folder.is_there(entry)
    return folder.begins_as_dicom(entry)


def _step(frames: str) -> int:
    """The step between frames; 0 for only the middle one. Raises DatapropsError if the rule is invalid."""
    if frames in ("all", "middle"):
        return 1 if frames == "all" else 0
    if frames.isascii() and frames.isdigit() and int(frames) >= 1:
        return int(frames)
    raise DatapropsError(
        f"the rule 'frames' is {frames!r}; expected all, middle, or a whole number N for every N-th frame"
    )


def _keys(key: str, frames: int, step: int) -> Iterator[str]:
    if frames == 1:
        yield key
    elif step == 0:
        yield f"{key}{MARK}{frames // 2 + 1}"
    else:
        width = len(str(frames))
        yield from (f"{key}{MARK}{frame + 1:0{width}d}" for frame in range(0, frames, step))


def _look(file: Path, tag: str | None) -> tuple[int, str | None]:
    """Number of frames, as far as the file's size allows, and the label; (1, None) if unreadable, which is reported on reading."""
    try:
        with guarded(lambda error: dicom_header.UnreadableDicom(reason_of(error))):
            header = dicom_header.read_header(file, [*dicom_header.SIZE_TAGS, *([tag] if tag else [])])
            frames = dicom_frames.plausible_frames(header, file.stat().st_size)
            return frames, dicom_header.text_of(header, tag) or None if tag else None
    except dicom_header.UnreadableDicom:
        return 1, None


def read(location: str, key: str, options: SourceOptions) -> bytes:
    """The bytes of a file, or of a DICOM file with only the given frame. Raises OSError."""
    name, _, number = key.partition(MARK)
    if not number:
        return manifest.read(location, key, options) if is_manifest(location) else read_whole(base(location) / key)
    file = base(location) / name
    stat = file.stat()
    with quiet():
        whole = _held.get((str(file), stat.st_size, stat.st_mtime_ns), lambda: dicom_frames.Frames(read_whole(file)))
        return whole.file(int(number) - 1)


_held: Cache[dicom_frames.Frames] = Cache(HELD_BYTES, lambda frames: frames.nbytes)
