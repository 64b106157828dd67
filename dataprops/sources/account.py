"""What a scan reports besides the images: the files it left out, with reasons, and the decisions it made for the whole dataset.

Both are in the ``attrs`` of its table: ``ignored`` with ``reasons`` {name: reason}, and ``decisions``.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pandas as pd

from dataprops.util.names import word_table

# Suffixes of files that accompany images: listed and counted, but never a cause of an alert
COMPANIONS = frozenset(
    f".{ending}"
    for ending in word_table("""
    bib bz2 cfg class cls csv label lbl target db doc docx gz h5 hdf5 hdr htm html ini ipynb json jsonl ndjson
    lock log mat md mha mhd nii npy npz names nrrd parquet pdf pickle pkl ps1 pt pth py rst sh tar lst m ods
    manifest tcia tex tfrec tfrecord toml tsv txt xls xlsx xml xz yaml yml zip zst
    """)
)
# Suffixes of unsupported image formats
UNREAD = frozenset(
    f".{ending}"
    for ending in word_table("""
    heic heif hif jxl jxr exr eps wmf emf svg dng cr2 cr3 nef arw orf rw2 raf pef srw
    """)
)
# Companion files known by their whole name
PLAIN = frozenset(
    word_table("""
    thumbs.db desktop.ini dicomdir license licence copying readme authors version changelog changes makefile
    dockerfile citation notice
    """)
)
# Start of an XML file, but not of an HTML page that a server sent in place of an image
_XML = re.compile(rb"\s*<(?!html|!doctype html)[A-Za-z?!]", re.IGNORECASE)
COMPANION, HIDDEN, NOT_AN_IMAGE, MASK = "companion file", "hidden file", "not an image", "mask of an image"
FOREIGN, IRREGULAR = "image in a format that is not read", "pipe, socket or device"
COPY, EXCLUDED, NOT_INCLUDED = "second copy of the dataset", "excluded by --exclude", "not matched by --include"
UNSAFE, REPEATED, DERIVED = "unsafe name", "duplicate name", "derivatives of a BIDS dataset"
LINKED, UNLISTED, CUT = "folder already listed", "folder that cannot be listed", "truncated archive"
ABSENT = "listed in a table, but missing"
VOLUME = "NIfTI volume (give the folder as nifti:FOLDER)"
# Not counted as lost images: files of other content, and files that the caller excluded
NO_LOSS = frozenset({COMPANION, HIDDEN, EXCLUDED, NOT_INCLUDED, MASK, COPY, DERIVED, LINKED})

_PICKLED = "loading it could execute code; save its arrays as .npz (the batches of CIFAR-10 are read as cifar10:FOLDER)"
_PACKED = "unpack it, and give the folder"
FOLDERS_USED = "folders, not the table"  # of labels: both have some, and they disagree
NONE_LEFT_OUT = "none left out"  # of masks: file names form pairs, but do not tell which is the mask
NO_KNOWN_FORM = "in an unknown format"  # of a file beside the images that was not read
IN_DOUBT = "in doubt"  # there is evidence against this decision (`doubts`)
# suffix of a file that cannot be read -> remedy
WAYS_OUT: dict[str, str] = {
    ".xls": "Excel 97-2003; save it as .xlsx or .csv",
    ".ods": "an OpenDocument sheet; save it as .xlsx or .csv",
    ".tcia": "a list of series; fetch them with the NBIA Data Retriever, and give the folder",
    ".mat": "MATLAB arrays; save them as .npz (those of SVHN are read as svhn:FOLDER)",
    **dict.fromkeys((".pkl", ".pickle", ".pt", ".pth", ".joblib"), _PICKLED),
    **dict.fromkeys((".rar", ".7z", ".zst", ".z01"), _PACKED),
    **dict.fromkeys((".nrrd", ".mha", ".mhd"), "a volume; save it as NIfTI, and give it as nifti:FOLDER"),
    **dict.fromkeys((".svs", ".ndpi", ".mrxs", ".czi"), "a whole slide; cut it into tiles, and give their folder"),
    ".txt": "its first lines contain no image file names; save it as .csv with a header row, and give --images DIR",
    ".mdb": "LMDB; write its images out as files, or as WebDataset",
    ".tfrecord": "TensorFlow records; write them out as files, or as WebDataset",
}


class Decision(NamedTuple):
    """An inference that changes the meaning of the data, made once for the whole dataset.

    Attributes
    ----------
    what : str
        "range", "classes", "splits", "groups", "masks", "copies", "labels", "spelling", "columns", "paths", "table", "shape",
        "images" or "size".
    value : str
        The decision.
    why : str
        The evidence, one line.
    option : str
        The option that overrides it.
    columns : tuple of str
        Columns of a table that it takes as the label.
    """

    what: str
    value: str
    why: str
    option: str
    columns: tuple[str, ...] = ()

    def row(self) -> dict[str, Any]:
        """Its fields, but for empty columns."""
        return {name: value for name, value in self._asdict().items() if name != "columns" or value}

    def line(self) -> str:
        """Format the decision as one line."""
        return f"{self.what}: {self.value} ({self.why}; override: {self.option})"


def why_left_out(name: str, head: bytes = b"") -> str:
    """Why a file was left out, from its name and, without a suffix, its first bytes (`head`).

    >>> why_left_out("a/notes.txt"), why_left_out("a/.x.png"), why_left_out("a/x.heic"), why_left_out("a/x", b"<annotation>")
    ('companion file', 'hidden file', 'image in a format that is not read', 'companion file')
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if any(part.startswith(".") or part in ("__MACOSX", "@eaDir") for part in parts):
        return HIDDEN
    base = parts[-1].lower() if parts else ""
    if base.endswith((".nii", ".nii.gz")):
        return VOLUME
    ending = posixpath.splitext(base)[1]
    if ending in UNREAD:
        return FOREIGN
    plain = ending in COMPANIONS or base in PLAIN
    return COMPANION if plain or ("." not in base and _XML.match(head)) else NOT_AN_IMAGE


def told(
    table: pd.DataFrame,
    left_out: Mapping[str, str] | None = None,
    empty_classes: Iterable[str] = (),
    decisions: Iterable[Decision] = (),
) -> pd.DataFrame:
    """Set the table's ``attrs``: names left out with their reasons, classes without images, decisions. Returns the same table."""
    left_out = left_out or {}
    table.attrs.update(
        ignored=list(left_out),
        reasons=dict(left_out),
        empty_classes=list(empty_classes),
        decisions=[decision.row() for decision in decisions],
    )
    return table


def decide(table: pd.DataFrame, *decisions: Decision) -> None:
    """Append decisions to a table's ``attrs``."""
    table.attrs["decisions"] = [*table.attrs.get("decisions", ()), *(decision.row() for decision in decisions)]


def withdraw(table: pd.DataFrame, *what: str, value: str | None = None) -> None:
    """Remove the decisions about these things from a table's ``attrs``; with a value, only those that decided so."""
    table.attrs["decisions"] = [
        one for one in table.attrs.get("decisions", ()) if one["what"] not in what or value not in (None, one["value"])
    ]


def left_out_of(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Name and reason of everything that a scan left out."""
    reasons = table.attrs.get("reasons", {})
    return [(name, reasons.get(name) or why_left_out(name)) for name in table.attrs.get("ignored", ())]


def lost_fraction(left_out: Iterable[tuple[str, str]], images: int) -> float:
    """Lost / (lost + images), where lost is the number of files left out that may have been meant as images.

    >>> lost_fraction([("a.txt", COMPANION), ("b.heic", NOT_AN_IMAGE)], 9)
    0.1
    """
    count = Counter(reason for _, reason in left_out)
    lost = sum(number for reason, number in count.items() if reason not in NO_LOSS)
    return lost / (lost + images) if lost else 0.0
