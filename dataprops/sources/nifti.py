"""Slices of volumes: ``nifti:FOLDER``, ``nifti:MANIFEST`` or ``nifti:FILE`` (NIfTI, Analyze). The scan reads every volume.

Slice i (from 0, along the canonical axis, see `volumes`) has the key ``path#axial=i``. Grey levels come from percentiles of the
whole volume or, depending on the window, from its header (cal_min, cal_max) or given values.

Rules
-----
axis : axial (default), coronal or sagittal
step : every N-th slice (default 1)
spacing : minimum distance between slices, mm; replaces `step`
content : minimum fraction of foreground voxels in a slice (default 0.05); background is below 10 % of the range from the volume's
    black to its white
time : index of the volume in a 4D file (default 0)
segmentation : file beside each volume whose non-zero voxels label its slices ``with`` and ``without``: a suffix, so that ``_seg``
    finds case_seg.nii.gz for case.nii.gz and case_flair.nii.gz, or a path relative to the volume's folder with {case} for its name,
    e.g. ../labelsTr/{case}.nii.gz. Segmentations are not read as volumes; slices of a volume without one have no label
area : minimum number of non-zero voxels for ``with`` (default 1); slices with fewer, but not zero, are left out
case : the group: volume (default), or folder (one folder per patient)

Without `segmentation`, labels come from class folders or from the manifest, as for images.
"""

from __future__ import annotations

import functools
import math
import os
import posixpath
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.imaging.decode import RawImage, UnreadableImage
from dataprops.imaging.windows import window_numbers
from dataprops.sources import folder, manifest
from dataprops.sources.beside import with_tables
from dataprops.sources.frames import base, is_manifest
from dataprops.sources.table import SourceOptions, chosen_rules, image_table, shown
from dataprops.sources.volumes import AXES, Volume, is_volume, open_volume, slice_image
from dataprops.util.budget import inherited, one_image
from dataprops.util.guard import guarded, reason_of

RULES: dict[str, tuple[str, ...]] = {
    "axis": ("axial", "coronal", "sagittal"),
    "step": (),
    "spacing": (),
    "content": (),
    "time": (),
    "segmentation": (),
    "area": (),
    "case": ("volume", "folder"),
}
BACKGROUND = 0.1
CONTENT = 0.05
THREADS = 4  # each holds a volume in memory


class Cut(NamedTuple):
    """How volumes are cut into slices; see the rules."""

    axis: str
    step: int
    spacing: float | None
    content: float
    time: int
    segmentation: str
    area: int
    by_folder: bool


def chosen_cut(options: SourceOptions) -> Cut:
    """Parse and check the rules.

    Raises
    ------
    DatapropsError
        If a rule is unknown or its value invalid.
    """
    rules = chosen_rules(options, RULES)

    def number(name: str, default: float, low: float, high: float, whole: bool) -> float:
        text = rules[name]
        try:
            value = float(text) if text else default
        except ValueError:
            value = math.nan
        if not low <= value <= high or (whole and value != int(value)):
            kind = "a whole number" if whole else "a number"
            bounds = f"of at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
            raise DatapropsError(f"the rule {name!r} is {text!r}; expected {kind} {bounds}")
        return value

    if rules["step"] and rules["spacing"]:
        raise DatapropsError("the rules 'step' and 'spacing' exclude each other: give one of them")
    return Cut(
        rules["axis"],
        int(number("step", 1, 1, 10**6, True)),
        number("spacing", 0, 0, math.inf, False) if rules["spacing"] else None,
        number("content", CONTENT, 0, 1, False),
        int(number("time", 0, 0, 10**9, True)),
        rules["segmentation"],
        int(number("area", 1, 1, 10**12, True)),
        rules["case"] == "folder",
    )


def scan(location: str, options: SourceOptions) -> pd.DataFrame:
    """List the slices; see `sources.Source`.

    Raises
    ------
    DatapropsError
        If there are no volumes or no slices, or a rule is invalid.
    """
    cut = chosen_cut(options)
    files = _files(location, options)
    root = base(location)
    names = set(files["key"])
    masks = {key: _mask(root, key, cut.segmentation) for key in names}
    used = {mask for mask in masks.values() if mask is not None}
    if cut.segmentation and not used:
        raise DatapropsError(
            f"no volume of {location} has a segmentation {cut.segmentation!r} beside it: correct the rule"
        )
    if used:
        files = files[~files["key"].isin(used)]
    cuts = inherited(functools.partial(_slices, cut=cut))
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(cuts, ((root, key, masks[key]) for key in files["key"])))
    rows: list[tuple[str, str | None, str | None, str]] = []
    for (key, label, split, group), (slices, why) in zip(
        files[["key", "label", "split", "group"]].itertuples(index=False), found, strict=True
    ):
        case = group if group is not None else shown((posixpath.dirname(key) or key) if cut.by_folder else key)
        if why is not None:
            rows.append((key, label if not cut.segmentation else None, split, case))
        rows += [
            (f"{key}#{cut.axis}={at:04d}", told if cut.segmentation else label, split, case) for at, told in slices
        ]
    if not rows:
        raise DatapropsError(f"no slice of {location} has content: lower the rule content={cut.content:g}")
    table = image_table(*(list(column) for column in zip(*rows, strict=True)))
    table.attrs.update(files.attrs)
    return table


def _files(location: str, options: SourceOptions) -> pd.DataFrame:
    path = Path(location)
    if is_manifest(location):
        return manifest.scan(location, options)
    if path.is_file():
        table = image_table([path.name], [None], [None], [None])
        table.attrs.update(ignored=[], empty_classes=[])
        return table
    table = folder.listed(location, options, _is_volume, "volumes (looked for nii nii.gz hdr+img)")
    return with_tables(table, lambda name: (path / name).read_bytes(), options)


def _is_volume(entry: os.DirEntry) -> bool:
    """Whether an entry is a volume; a pair .hdr + .img is represented by its header."""
    name = entry.name.lower()
    if not is_volume(name) or name.endswith(".img"):
        return False
    return folder.is_there(entry) and (
        not name.endswith(".hdr") or any(Path(entry.path).parent.glob(_pair(entry.name)))
    )


def _pair(name: str) -> str:
    """Pattern for the .img of a .hdr."""
    stem = "".join(f"[{c}]" if c in "[]*?" else c for c in name[: -len(".hdr")])
    return f"{stem}.[iI][mM][gG]"


def _stem(name: str) -> tuple[str, str]:
    """File name without extension, and the extension: 'a.nii.gz' -> ('a', '.nii.gz')."""
    for ending in (".nii.gz", ".nii", ".hdr", ".img"):
        if name.lower().endswith(ending):
            return name[: -len(ending)], name[-len(ending) :]
    return name, ""


def _mask(root: Path, key: str, rule: str) -> str | None:
    """Key of a volume's segmentation, or None."""
    if not rule:
        return None
    folder_of, name = posixpath.split(key)
    stem, ending = _stem(name)
    if "{case}" in rule:
        names = [rule.replace("{case}", stem)]
    else:
        cases = [stem, *(stem[:at] for at in (stem.rfind("_"), stem.rfind("-")) if at > 0)]
        names = [f"{case}{rule}{end}" for case in cases for end in dict.fromkeys((ending, ".nii.gz", ".nii"))]
    for candidate in names:
        mask = posixpath.normpath(posixpath.join(folder_of, candidate))
        if mask != key and (root / mask).is_file():
            return mask
    return None


def _slices(what: tuple[Path, str, str | None], cut: Cut) -> tuple[list[tuple[int, str | None]], str | None]:
    """Slices of a volume with content, each with its label; and the error if it cannot be read."""
    root, key, mask_key = what
    try:
        with one_image(), guarded(lambda error: UnreadableImage(reason_of(error)), passing=(UnreadableImage,)):
            volume = open_volume(root / key, cut.time)
            mask = None if mask_key is None else _mask_values(root / mask_key, volume)
    except UnreadableImage as reason:
        return [], str(reason)
    axis = AXES[cut.axis]
    across = tuple(other for other in range(3) if other != axis)
    low, high = volume.levels
    share = (volume.voxels > low + BACKGROUND * (high - low)).mean(axis=across)
    kept = np.nonzero((share >= cut.content) & (share > 0))[0]
    kept = kept[_apart(kept, cut, volume.spacing[axis])]
    if mask is None:
        return [(int(at), None) for at in kept], None
    area = np.count_nonzero(mask, axis=across)
    return [
        (int(at), "without" if not area[at] else "with") for at in kept if not area[at] or area[at] >= cut.area
    ], None


def _apart(kept: np.ndarray, cut: Cut, spacing: float) -> np.ndarray:
    """Which slices to keep so that they are far enough apart: bool [len(kept)]."""
    step = cut.step if cut.spacing is None else max(1, math.ceil(cut.spacing / max(spacing, 1e-6) - 1e-9))
    taken, last = np.zeros(len(kept), bool), -math.inf
    for i, at in enumerate(kept.tolist()):
        if at - last >= step:
            taken[i], last = True, at
    return taken


def _mask_values(path: Path, volume: Volume) -> np.ndarray:
    try:
        mask = open_volume(path)
    except UnreadableImage as reason:
        raise UnreadableImage(f"its segmentation cannot be read: {reason}") from None
    if mask.voxels.shape != volume.voxels.shape:
        sides = [" x ".join(map(str, values.shape)) for values in (mask.voxels, volume.voxels)]
        raise UnreadableImage(f"its segmentation has {sides[0]} voxels, the volume {sides[1]}")
    return mask.voxels


def read(location: str, key: str, options: SourceOptions) -> RawImage:
    """Read one slice.

    Raises
    ------
    UnreadableImage, OSError
        With the reason.
    """
    cut = chosen_cut(options)
    root = base(location)
    name, mark, number = key.rpartition(f"#{cut.axis}=")
    if not mark:  # a volume without listed slices: raise the reason
        volume = open_volume(root / key, cut.time)
        mask = _mask(root, key, cut.segmentation)
        if mask is not None:
            _mask_values(root / mask, volume)
        raise UnreadableImage("it could not be read when the slices were listed")
    volume = open_volume(root / name, cut.time)
    return slice_image(volume.voxels, cut.axis, int(number), _levels(volume, options.window))


def _levels(volume: Volume, window: str) -> tuple[float, float]:
    numbers = window_numbers(window)
    if numbers is not None:
        centre, width = numbers
        return centre - width / 2, centre + width / 2
    return volume.calibrated if window == "file" and volume.calibrated is not None else volume.levels
