"""The table of findings: kinds with their meaning, and the one way to make rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd


class Kind(NamedTuple):
    """A kind of finding: how serious one is, its heading, and why it matters and what to do."""

    severity: str
    title: str
    explanation: str


KINDS: dict[str, Kind] = {
    "unreadable": Kind(
        "warning",
        "Unreadable files",
        "These files could not be decoded and took no part in the audit. Restore them or take them off the list.",
    ),
    "label_conflicts": Kind(
        "critical",
        "Identical images with different labels",
        "The very same picture carries two labels, so at least one label is wrong. Correct it before training.",
    ),
    "split_leakage": Kind(
        "critical",
        "The same image in two splits",
        "An image (or a near-copy) in both the training and a test part makes the test result too good. Keep one of them.",
    ),
    "group_leakage": Kind(
        "critical",
        "A patient in two splits",
        "Images of one patient resemble each other: a patient in both the training and a test part makes the test result"
        " too good. Split by patient.",
    ),
    "exact_duplicates": Kind(
        "warning",
        "Exact duplicates",
        "The same picture stands in the set more than once and counts more than the others. Keep one of each.",
    ),
    "near_duplicates": Kind(
        "info",
        "Near-identical images",
        "These pictures differ by hardly visible amounts: repeated exposures, re-encoded copies or neighbouring slices.",
    ),
    "group_in_classes": Kind(
        "info",
        "A patient in two classes",
        "Images of one patient carry different labels. That can be right (before and after), or a mistake.",
    ),
    "unlabelled": Kind(
        "warning",
        "Images without a label",
        "These images have no label while others have one. They took part in the dimension, not in the sharpness.",
    ),
    "several_frames": Kind(
        "info",
        "Files of several frames",
        "Of each of these DICOM files one frame, the middle one, took part. Audit them as dicom:FOLDER to have them all.",
    ),
    "class_imbalance": Kind(
        "warning",
        "Unequal classes",
        "One class holds many more images than another; a network can score well by ignoring the small one.",
    ),
    "small_class": Kind(
        "warning",
        "Very small classes",
        "A class with so few images can be neither learnt nor tested. Add images or merge it.",
    ),
    "shortcut": Kind(
        "warning",
        "A property of the files tells the class",
        "A network may learn where a picture came from instead of what it shows. Bring all files to one format and size.",
    ),
    "outliers": Kind(
        "info",
        "Outliers",
        "These images are far from all others: look whether they belong to the set.",
    ),
    "sharpest_pairs": Kind(
        "info",
        "Sharpest pairs",
        "The most similar pictures with different labels. They make the set sharp, and a wrong label shows here first.",
    ),
}

Row = tuple[Sequence[int], float, str]


def rows(kind: str, images: pd.DataFrame, found: Iterable[Row]) -> pd.DataFrame:
    """Findings of one kind.

    Parameters
    ----------
    images : DataFrame
        The run's images, by `image` = position.
    found : iterable of (image ids, value, sentence)
    """
    paths = images["path"].to_numpy(object)
    records = [
        {
            "kind": kind,
            "severity": KINDS[kind].severity,
            "images": [int(i) for i in ids],
            "paths": [str(paths[i]) for i in ids],
            "value": float(value),
            "detail": detail,
        }
        for ids, value, detail in found
    ]
    return pd.DataFrame(records, columns=["kind", "severity", "images", "paths", "value", "detail"])


def quoted(path: str) -> str:
    """A path in a sentence."""
    return f"“{path}”"


def split_names(names: Iterable[str]) -> str:
    """'train and test'."""
    ordered = sorted(set(names))
    return ordered[0] if len(ordered) == 1 else f"{', '.join(ordered[:-1])} and {ordered[-1]}"


def pair_count(groups: np.ndarray) -> int:
    """Unordered pairs of different entries' items: sizes of parts -> pairs across parts."""
    total = int(groups.sum())
    return (total * total - int((groups.astype(np.int64) ** 2).sum())) // 2
