"""BraTS: brain MRI volumes with segmentations, as axial slices with and without tumour; or slices in two folders.

Rules for volumes, in order:

1. Both volumes are reoriented to left-posterior-superior axes, so that slices are shown face up with the patient's right
   on the left. Slice k is the k-th from below.
2. Slices with less than `least-brain` per cent of non-zero pixels are left out: nearly empty slices look alike in all
   patients, and black ones are identical.
3. A slice with any segmented voxel is positive. Other slices closer than `margin` slices to a positive one are left out.
4. Grey levels: the 0.5 % and 99.5 % quantiles of the volume's non-zero voxels map to 0 and 255; values outside are clipped.
"""

from __future__ import annotations

import logging
import os
import posixpath
import re
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from dataprops.imaging.decode import RawImage, quiet
from dataprops.sources.paper.layout import (
    Image,
    files_in,
    in_class_folders,
    listing,
    missing,
    read_file,
    rule_number,
    unreadable,
)
from dataprops.util.cache import FileCache
from dataprops.util.guard import said

log = logging.getLogger(__name__)

TREE = """\
    PATH/.../BraTS2021_00000/BraTS2021_00000_flair.nii.gz    and    BraTS2021_00000_seg.nii.gz    (2018 to 2021)
    or  PATH/.../BraTS-GLI-00000-000/BraTS-GLI-00000-000-t2f.nii.gz    and    ...-seg.nii.gz    (2023)
    or slices:  PATH/0, PATH/1  (or no, yes; neg, pos; negative, positive), or the same in PATH/train, PATH/val, PATH/test
"""
RULES = {"modality": ("flair", "t1", "t1ce", "t2"), "margin": (), "least-brain": ()}
MARGIN = 0
LEAST_BRAIN = 5  # per cent
THREADS = 8  # for scanning; each holds a volume in memory
QUANTILES = (0.5, 99.5)
NAMES = {
    "flair": "flair",
    "t2f": "flair",
    "t1": "t1",
    "t1n": "t1",
    "t1ce": "t1ce",
    "t1c": "t1ce",
    "t2": "t2",
    "t2w": "t2",
}
# one segmentation in BraTS 2020 is named W39_1998.09.19_Segm.nii
FILE = re.compile(r"(?P<case>.+?)[_-](?P<kind>flair|t2f|t1n|t1ce|t1c|t1|t2w|t2|segm|seg)\.nii(?:\.gz)?", re.IGNORECASE)
CASE_2023 = re.compile(r"(BraTS-[A-Za-z]+-\d+)-\d+")  # the last number is the visit
FOLDERS = {
    "0": "negative",
    "no": "negative",
    "neg": "negative",
    "negative": "negative",
    "1": "positive",
    "yes": "positive",
    "pos": "positive",
    "positive": "positive",
}
# slices in class folders: CASE_077.png, or CLASS_CASE_SLICE.jpg as written by the authors' scripts
SLICE_NAME = re.compile(
    r"^(?:[01]_)?(.+?)(?:[_-](?:flair|t2f|t1n|t1ce|t1c|t1|t2w|t2))?[_-](?:slice[_-]?)?\d+\.[^.]+$", re.IGNORECASE
)
DAMAGES = (OSError, ValueError, TypeError, KeyError, IndexError, EOFError, MemoryError, zlib.error)


class LoadedVolume(NamedTuple):
    """Voxels [x, y, z] on left-posterior-superior axes, and the values mapped to 0 and 255."""

    voxels: np.ndarray
    low: float
    high: float


class Slices(NamedTuple):
    """Number of non-zero voxels in each axial slice, and number of pixels per slice."""

    filled: np.ndarray
    pixels: int


_volumes: FileCache[LoadedVolume] = FileCache()
_slices: FileCache[Slices] = FileCache()


def voxels_of(file: Path) -> np.ndarray:
    """The voxels of a NIfTI file on left-posterior-superior axes.

    Raises
    ------
    OSError
        With the reason, if it is corrupt or not a volume.
    """
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform
    from nibabel.spatialimages import HeaderDataError

    if not file.is_file():
        raise unreadable("not a file")
    try:
        with quiet():
            image = nibabel.load(file)
        voxels = np.asanyarray(image.dataobj)
        if voxels.ndim != 3 or voxels.dtype.kind not in "uif":
            raise unreadable(
                f"{file.name} has shape {list(voxels.shape)} of {voxels.dtype}; expected a volume of numbers"
            )
        turn = ornt_transform(io_orientation(image.affine), axcodes2ornt("LPS"))
        return apply_orientation(voxels, turn)
    except (*DAMAGES, ImageFileError, HeaderDataError) as error:
        reason = said(error)
        raise unreadable(reason if file.name in reason else f"{file.name} is damaged: {reason}") from None


def _load_volume(file: Path) -> tuple[LoadedVolume, int]:
    voxels = voxels_of(file)
    if not np.isfinite(voxels).all():
        raise unreadable(f"{file.name} holds NaN or infinite values")
    filled = voxels[voxels != 0]
    low, high = np.percentile(filled, QUANTILES) if filled.size else (0.0, 0.0)
    return LoadedVolume(voxels, float(low), float(high)), voxels.nbytes


def _load_slices(file: Path) -> tuple[Slices, int]:
    voxels = voxels_of(file)
    slices = Slices(np.count_nonzero(voxels, axis=(0, 1)), voxels.shape[0] * voxels.shape[1])
    return slices, slices.filled.nbytes + 1024


def scan(root: Path, rules: Mapping[str, str]) -> pd.DataFrame:
    """List the slices; see `paper.Reader`. Reads every volume, because only the segmentations tell which slices show a tumour."""
    if not root.is_dir():
        raise missing("brats", root, TREE)
    if prepared := in_class_folders(root, FOLDERS, SLICE_NAME):
        return listing(*prepared)
    margin = rule_number(rules, "margin", MARGIN)
    least = rule_number(rules, "least-brain", LEAST_BRAIN)
    cases, ignored = _cases(root, rules["modality"])
    if not cases:
        raise missing("brats", root / f"*/*_{rules['modality']}.nii.gz with its *_seg.nii.gz", TREE)
    images: list[Image] = []
    damaged: list[Image] = []
    with ThreadPoolExecutor(THREADS) as pool:
        facts = pool.map(lambda case: _facts(root, *case), cases)
        for (volume, _), fact in zip(cases, facts, strict=True):
            patient = _patient(volume)
            if isinstance(fact, str):
                log.warning("%s: %s: it counts as one image that cannot be read", volume, fact)
                damaged.append(Image(volume, None, None, patient))
                continue
            brain, tumour = fact
            labels = slice_labels(brain.filled, brain.pixels, tumour.filled, margin, least)
            images += [
                Image(f"{volume}#{number:03d}", label, None, patient)
                for number, label in enumerate(labels)
                if label is not None
            ]
    return listing(images, ignored, damaged=damaged)


def _cases(root: Path, modality: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Keys of the volumes of a modality with their segmentations, and the files left out."""
    names, ignored = files_in(root)
    volumes: dict[str, str] = {}
    segmentations: dict[str, str] = {}
    for name in names:
        match = FILE.fullmatch(posixpath.basename(name))
        if match is None:
            ignored.append(name)
            continue
        kind = match["kind"].lower()
        # a case is a folder, or folder and name if one folder holds several cases
        place = posixpath.dirname(name)
        case = place if match["case"] == posixpath.basename(place) or kind == "segm" else f"{place}/{match['case']}"
        if kind.startswith("seg"):
            segmentations[case] = name
        elif NAMES[kind] == modality:
            volumes[case] = name
    bare = sorted(set(volumes) - set(segmentations))
    if bare:
        log.warning("%d volumes have no segmentation and are left out (first: %s)", len(bare), volumes[bare[0]])
    pairs = [
        (volumes[case], segmentations[case]) for case in sorted(set(volumes) & set(segmentations), key=os.fsencode)
    ]
    return pairs, [*ignored, *(volumes[case] for case in bare)]


def _patient(volume: str) -> str:
    match = FILE.fullmatch(posixpath.basename(volume))
    case = volume if match is None else match["case"]
    visit = CASE_2023.fullmatch(case)
    return visit[1] if visit else case


def _facts(root: Path, volume: str, segmentation: str) -> tuple[Slices, Slices] | str:
    """Voxel counts per slice of a volume and of its segmentation, or the error."""
    try:
        brain = _slices.get(root / volume, _load_slices)
        tumour = _slices.get(root / segmentation, _load_slices)
    except OSError as error:
        return error.strerror or str(error)
    if brain.filled.shape != tumour.filled.shape or brain.pixels != tumour.pixels:
        return f"its segmentation {segmentation} has another shape"
    return brain, tumour


def slice_labels(brain: np.ndarray, pixels: int, tumour: np.ndarray, margin: int, least_brain: int) -> list[str | None]:
    """Apply rules 2 and 3 to a volume; None: left out.

    >>> slice_labels(np.array([0, 50, 50, 50, 50]), 100, np.array([0, 0, 0, 0, 7]), 2, 5)
    [None, 'negative', 'negative', None, 'positive']
    """
    inside = np.nonzero(tumour)[0]
    labels: list[str | None] = []
    for number in range(len(brain)):
        if brain[number] * 100 < least_brain * pixels or not brain[number]:
            labels.append(None)
        elif tumour[number]:
            labels.append("positive")
        else:
            near = len(inside) > 0 and int(np.abs(inside - number).min()) < margin
            labels.append(None if near else "negative")
    return labels


def read(root: Path, key: str) -> bytes | RawImage:
    """Read one slice."""
    name, mark, number = key.rpartition("#")
    if not mark or not number.isdigit():
        if FILE.fullmatch(posixpath.basename(key)) is None:
            return read_file(root, key)
        name, number = key, ""
    volume = _volumes.get(root / name, _load_volume)
    if not number:
        raise unreadable("the volume's segmentation is damaged or does not fit: its slices have no labels")
    if int(number) >= volume.voxels.shape[2]:
        raise unreadable(f"the volume has {volume.voxels.shape[2]} slices")
    plane = volume.voxels[:, :, int(number)].T.astype(np.float32)
    span = volume.high - volume.low
    levels = np.clip((plane - np.float32(volume.low)) * np.float32(255 / span if span > 0 else 0), 0, 255)
    return RawImage(np.ascontiguousarray(levels), "NIfTI", str(volume.voxels.dtype), plane.shape[1], plane.shape[0])
