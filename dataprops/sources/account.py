"""What a source gives account of: what was left out and why, and what was guessed once for the whole set.

A scan puts both into the ``attrs`` of its table: ``reasons`` {name: reason} beside ``ignored``, and ``decisions``.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import pandas as pd

# Endings of what lies beside images without being one: listed, counted, but no reason for an alert
COMPANIONS = frozenset(
    f".{ending}"
    for ending in (
        *(
            "bib",
            "bz2",
            "cfg",
            "class",
            "cls",
            "csv",
            "label",
            "lbl",
            "target",
            "db",
            "doc",
            "docx",
            "gz",
            "h5",
            "hdf5",
            "hdr",
            "htm",
            "html",
        ),
        *("ini", "ipynb", "json", "jsonl", "ndjson", "lock", "log", "mat", "md", "mha", "mhd", "nii", "npy", "npz"),
        *("names", "nrrd", "parquet", "pdf", "pickle", "pkl", "ps1", "pt", "pth", "py", "rst", "sh", "tar"),
        *(
            "lst",
            "m",
            "ods",
            "manifest",
            "tcia",
            "tex",
            "tfrec",
            "tfrecord",
            "toml",
            "tsv",
            "txt",
            "xls",
            "xlsx",
            "xml",
            "xz",
            "yaml",
            "yml",
            "zip",
            "zst",
        ),
    )
)
# Endings of images in formats that are not read
UNREAD = frozenset(
    f".{ending}"
    for ending in (
        *("heic", "heif", "hif", "jxl", "jxr", "exr", "eps", "wmf", "emf", "svg"),
        *("dng", "cr2", "cr3", "nef", "arw", "orf", "rw2", "raf", "pef", "srw"),
    )
)
# Names of what needs no ending
PLAIN = frozenset(
    (
        *("thumbs.db", "desktop.ini", "dicomdir", "license", "licence", "copying", "readme", "authors", "version"),
        *("changelog", "changes", "makefile", "dockerfile", "citation", "notice"),
    )
)
_XML = re.compile(
    rb"\s*<(?!html|!doctype html)[A-Za-z?!]", re.IGNORECASE
)  # and no page that a server sent in place of an image
COMPANION, HIDDEN, NOT_AN_IMAGE, MASK = "companion file", "hidden file", "not an image", "mask of an image"
FOREIGN, IRREGULAR = "image in a format that is not read", "pipe, socket or device"
COPY, EXCLUDED, NOT_INCLUDED = "second copy of the set", "excluded by --exclude", "not matched by --include"
UNSAFE, REPEATED, DERIVED = "unsafe name", "name given twice", "derived data of a BIDS tree"
LINKED, UNLISTED, CUT = "folder that is listed already", "folder that cannot be listed", "archive that ends early"
ABSENT = "named by a table, and not there"
VOLUME = "NIfTI volume (give the folder as nifti:FOLDER)"
# These were looked at and are no loss: a file that tells something else, and what the caller asked to leave out
NO_LOSS = frozenset({COMPANION, HIDDEN, EXCLUDED, NOT_INCLUDED, MASK, COPY, DERIVED, LINKED})

# suffix of a file that is not read -> what to do with it
_PICKLED = "to load it could run code; save its arrays as .npz (the batches of CIFAR-10 are read as cifar10:FOLDER)"
_PACKED = "unpack it, and give the folder"
FOLDERS_USED = "folders, not the table"  # a decision on labels where both tell some
NONE_LEFT_OUT = "none left out"  # a decision on masks where names show pairs and do not say which is the mask
IN_DOUBT = "in doubt"  # a reading against which something speaks (`doubts`)
WAYS_OUT: dict[str, str] = {
    ".xls": "Excel of before 2007; save it as .xlsx or .csv",
    ".tcia": "a list of series; fetch them with the NBIA Data Retriever, and give the folder",
    ".mat": "arrays of MATLAB; save them as .npz (those of SVHN are read as svhn:FOLDER)",
    **dict.fromkeys((".pkl", ".pickle", ".pt", ".pth", ".joblib"), _PICKLED),
    **dict.fromkeys((".rar", ".7z", ".zst", ".z01"), _PACKED),
    **dict.fromkeys((".nrrd", ".mha", ".mhd"), "a volume; save it as NIfTI, and give it as nifti:FOLDER"),
    **dict.fromkeys((".svs", ".ndpi", ".mrxs", ".czi"), "a whole slide; cut it into tiles, and give their folder"),
    ".txt": "its first lines name no image with its ending; save it as .csv with a row of names, and give --images DIR",
    ".mdb": "LMDB; write its images out as files, or as WebDataset",
    ".tfrecord": "records of TensorFlow; write them out as files, or as WebDataset",
}


class Decision(NamedTuple):
    """A guess that changes the meaning of the data, made once for the set.

    Attributes
    ----------
    what : str
        "range", "classes", "splits", "groups", "masks", "copies", "labels", "spelling", "columns", "paths", "table", "shape",
        "images" or "size".
    value : str
        What was decided.
    why : str
        By which evidence, in one line.
    option : str
        Overrules it.
    """

    what: str
    value: str
    why: str
    option: str

    def line(self) -> str:
        """One line for a log or a terminal."""
        return f"{self.what}: {self.value} ({self.why}; {self.option} overrules)"


def reason_of(name: str, head: bytes = b"") -> str:
    """Why a file was left out, by its name; a file without a suffix by its first bytes.

    >>> reason_of("a/notes.txt"), reason_of("a/.x.png"), reason_of("a/x.heic"), reason_of("a/x", b"<annotation>")
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
    """The table with its account: names left out with their reasons, classes without images, decisions."""
    left_out = left_out or {}
    table.attrs.update(
        ignored=list(left_out),
        reasons=dict(left_out),
        empty_classes=list(empty_classes),
        decisions=[decision._asdict() for decision in decisions],
    )
    return table


def decide(table: pd.DataFrame, *decisions: Decision) -> None:
    """Add decisions to a table's account."""
    table.attrs["decisions"] = [*table.attrs.get("decisions", ()), *(decision._asdict() for decision in decisions)]


def left_out_of(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Name and reason of all that a scan left out."""
    reasons = table.attrs.get("reasons", {})
    return [(name, reasons.get(name) or reason_of(name)) for name in table.attrs.get("ignored", ())]


def lost_fraction(left_out: Iterable[tuple[str, str]], images: int) -> float:
    """Share of files that may have been meant as images and were left out, of these and the images.

    >>> lost_fraction([("a.txt", COMPANION), ("b.heic", NOT_AN_IMAGE)], 9)
    0.1
    """
    count = Counter(reason for _, reason in left_out)
    lost = sum(number for reason, number in count.items() if reason not in NO_LOSS)
    return lost / (lost + images) if lost else 0.0
