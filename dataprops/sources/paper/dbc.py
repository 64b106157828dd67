"""DBC (Duke-Breast-Cancer-MRI): breast MRI slices with and without lesion, from the table of boxes; or slices in two folders.

The boxes number slices as in the original files. The mapping table is required, because it gives their names in the published
tree, whose order may differ. Rules as in the authors' scripts: a patient's slice s is positive if start <= s < end of the box,
negative if s + margin <= start or s - margin > end; slices between are left out.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.sources.paper.brats import FOLDERS
from dataprops.sources.paper.layout import (
    Image,
    in_class_folders,
    key_of,
    listing,
    missing,
    need,
    read_table,
    rule_number,
    whole,
)

log = logging.getLogger(__name__)

TREE = """\
    PATH/Annotation_Boxes.csv (or .xlsx)
    PATH/Breast-Cancer-MRI-filepath_filename-mapping.csv (or .xlsx, which takes minutes to read)
    PATH/Duke-Breast-Cancer-MRI/Breast_MRI_001/<study>/<series>/1-001.dcm ...    (or in PATH/manifest-*/)
    or slices:  PATH/neg, PATH/pos  (or 0, 1; no, yes; negative, positive), or the same in PATH/train, PATH/val, PATH/test
"""
RULES = {"sequence": ("pre", "post_1", "post_2", "post_3", "post_4", "T1"), "margin": ()}
MARGIN = 5
BOXES = "Annotation_Boxes"
MAPPING = "Breast-Cancer-MRI-filepath_filename-mapping"
IMAGES = "Duke-Breast-Cancer-MRI"
# DICOM_Images/Breast_MRI_001/pre/Breast_MRI_001_pre_089.dcm
ORIGINAL = re.compile(
    r"(?:.*/)?(?P<patient>Breast_MRI_\d+)/(?P<sequence>[^/]+)/[^/]*?_(?P<slice>\d+)\.dcm", re.IGNORECASE
)
# slices in class folders: 1-052-876.png of patient 876, as written by the authors' scripts
PATIENT = re.compile(r"(Breast_MRI_\d+)|^\d+-\d+-(\d+)\.[^.]+$")


def scan(root: Path, rules: Mapping[str, str]) -> pd.DataFrame:
    """List the slices; see `paper.Reader`. Patients not on disk are skipped: the full dataset has 368 GB."""
    if not root.is_dir():
        raise missing("dbc", root, TREE)
    if prepared := in_class_folders(root, FOLDERS, PATIENT):
        return listing(*prepared)
    margin = rule_number(rules, "margin", MARGIN)
    boxes_file = need("dbc", TREE, root, f"{BOXES}.csv", f"{BOXES}.xlsx")
    mapping_file = need("dbc", TREE, root, f"{MAPPING}.csv", f"{MAPPING}.xlsx")
    base = need("dbc", TREE, root, IMAGES, f"manifest-*/{IMAGES}")
    boxes = _boxes(boxes_file)
    names = _Names(base)
    images: list[Image] = []
    absent: set[str] = set()
    for patient, number, paths in _slices(mapping_file, rules["sequence"]):
        label = slice_label(number, *boxes[patient], margin) if patient in boxes else None
        if label is None:
            continue
        place = names.find(paths)
        if place is None:
            absent.add(patient)
            continue
        images.append(Image(key_of(place, root), label, None, patient))
    if absent:
        log.info("%d patients of the tables have no folder in %s", len(absent), base)
    if not images:
        raise missing("dbc", base / f"Breast_MRI_001/<study>/<series>/1-001.dcm of sequence {rules['sequence']}", TREE)
    return listing(images)


def slice_label(number: int, start: int, end: int, margin: int) -> str | None:
    """Whether a slice shows the lesion; None: too close to its ends.

    >>> [slice_label(number, 10, 12, 2) for number in (8, 9, 10, 11, 12, 14, 15)]
    ['negative', None, 'positive', 'positive', None, None, 'negative']
    """
    if start <= number < end:
        return "positive"
    return "negative" if number + margin <= start or number - margin > end else None


def _boxes(file: Path) -> dict[str, tuple[int, int]]:
    table = read_table(file, ("Patient ID", "Start Slice", "End Slice"))
    boxes = {}
    for row, (patient, start, end) in enumerate(
        zip(table["Patient ID"], table["Start Slice"], table["End Slice"], strict=True)
    ):
        first, last = whole(start, file, row, "Start Slice"), whole(end, file, row, "End Slice")
        if last < first:
            raise DatapropsError(f"{file}, row {row + 1}: the box of {patient} ends at slice {last}, before {first}")
        boxes[patient.strip()] = first, last
    return boxes


def _slices(file: Path, sequence: str) -> list[tuple[str, int, tuple[str, str]]]:
    """Patient, slice number, and the two published paths of each slice of a sequence."""
    columns = ("original_path_and_filename", "classic_path", "descriptive_path")
    table = read_table(file, columns)
    slices = []
    for original, classic, descriptive in zip(*(table[column] for column in columns), strict=True):
        match = ORIGINAL.fullmatch(original.strip())
        if match is not None and match["sequence"].lower() == sequence.lower():
            slices.append((match["patient"], int(match["slice"]), (classic.strip(), descriptive.strip())))
    if not slices:
        raise DatapropsError(
            f"{file} lists no slice of the sequence {sequence!r}: choose another by --rule sequence=..."
        )
    return slices


class _Names:
    """Resolves paths of the mapping table on disk; lists each folder once."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._folders: dict[Path, frozenset[str]] = {}

    def find(self, paths: tuple[str, str]) -> Path | None:
        """The file of a slice, or its expected path if only the folder exists; None without the folder."""
        first = None
        for path in paths:
            parts = [part for part in path.split("/") if part]
            if len(parts) < 3 or ".." in parts:
                continue
            # descriptive paths have BreastMRI001, the tree has Breast_MRI_001
            parts[1] = re.sub(r"^BreastMRI(?=\d)", "Breast_MRI_", parts[1])
            folder = self._base.joinpath(*parts[1:-1])
            if folder not in self._folders:
                inside = frozenset(entry.name for entry in folder.iterdir()) if folder.is_dir() else frozenset()
                self._folders[folder] = inside
            # for series of fewer than 100 files the tree has 1-01.dcm, the table 1-001.dcm
            for name in (parts[-1], re.sub(r"-0(?=\d+\.)", "-", parts[-1])):
                if name in self._folders[folder]:
                    return folder / name
            if self._folders[folder] and first is None:
                first = folder / parts[-1]
        return first
