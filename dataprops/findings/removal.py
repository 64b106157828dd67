"""Which images to remove from a dataset, by the kinds of findings that name them.

A row of `REMOVALS` defines the rule of a kind: remove *all* images named, because it is unknown which of them is right; keep *one of
each* group; or remove those in the training split that are also in a test split, so that the test split stays unchanged. Files are
not touched: the result is a set of image ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.probe.folds import unite
from dataprops.util.nearest import did_you_mean

TRAINING = "train"
LEAKS = "split_leakage"
COPIES = (
    "exact_duplicates",
    "near_duplicates",
    "label_conflicts",
    "near_conflicts",
)  # kinds that name copies of each other
_Choose = Callable[[pd.DataFrame, list[np.ndarray]], set[int]]


class Removal(NamedTuple):
    """Removal rule of a kind of finding: its command-line names, a description, and the function that chooses images."""

    names: tuple[str, ...]
    says: str
    choose: _Choose


def everything(images: pd.DataFrame, found: list[np.ndarray]) -> set[int]:
    """All images named."""
    return {int(i) for ids in found for i in ids}


def _rank(images: pd.DataFrame) -> np.ndarray:
    """Priority of keeping images: outside the training split first, so that a test split stays complete."""
    training = images["split"].to_numpy(object) == TRAINING
    return np.where(training, 1, 0)


def all_but_one(images: pd.DataFrame, found: list[np.ndarray]) -> set[int]:
    """All but one image of each group of copies; exact copies of a removed image are removed too.

    At most one image per finding remains, also if findings overlap.
    """
    rank, copy = _rank(images), images["duplicate_of"].to_numpy()
    members = {}
    for image, first in enumerate(copy.tolist()):
        if first >= 0:
            members.setdefault(first, []).append(image)
    gone: set[int] = set()
    for ids in found:
        left = sorted((int(i) for i in ids if int(i) not in gone), key=lambda i: (rank[i], i))
        for image in left[1:]:
            gone.add(image)
            if copy[image] != copy[left[0]]:
                gone.update(members.get(int(copy[image]), ()))
    return gone


def out_of_training(images: pd.DataFrame, found: list[np.ndarray]) -> set[int]:
    """Training images of each finding that spans splits; if none is in training, all but those of the alphabetically first split."""
    split = images["split"].to_numpy(object)
    gone: set[int] = set()
    for ids in found:
        left = [int(i) for i in ids if int(i) not in gone]
        parts = {split[i] for i in left}
        if len(parts) < 2:
            continue
        keep = next(iter(sorted(str(part) for part in parts if part != TRAINING)))
        wanted = {TRAINING} if TRAINING in parts else {part for part in parts if part != keep}
        gone.update(i for i in left if split[i] in wanted)
    return gone


REMOVALS: dict[str, Removal] = {
    "unreadable": Removal(("unreadable",), "files that cannot be read", everything),
    "label_conflicts": Removal(("conflicts",), "every copy of an image that has two labels", everything),
    "near_conflicts": Removal(("near-conflicts",), "both of two near-copies with different labels", everything),
    "suspect_labels": Removal(("suspects", "suspect-labels"), "images with a doubtful label", everything),
    "split_leakage": Removal(
        ("leaks",), "training images that are also in a test split, with their copies", out_of_training
    ),
    "group_leakage": Removal(
        ("group-leaks",), "training images of patients who are also in a test split", out_of_training
    ),
    "exact_duplicates": Removal(("duplicates",), "all but one of each group of identical images", all_but_one),
    "near_duplicates": Removal(
        ("near", "near-duplicates"), "all but one of each group of near-identical images", all_but_one
    ),
    "unlabelled": Removal(("unlabelled",), "images without a label", everything),
    "image_quality": Removal(("quality",), "images of poor quality", everything),
    "outliers": Removal(("outliers",), "outliers", everything),
}
NAMES: dict[str, str] = {
    name: kind for kind, row in REMOVALS.items() for name in (*row.names, kind, kind.replace("_", "-"))
}


def with_their_groups(found: Iterable[np.ndarray], groups: Iterable[np.ndarray]) -> list[np.ndarray]:
    """Merge findings that share an image or a group of copies: two copies of a third image are copies of each other.

    >>> [ids.tolist() for ids in with_their_groups([np.array([0, 1])], [np.array([1, 2]), np.array([2, 3]), np.array([7, 8])])]
    [[0, 1, 2, 3]]
    """
    found = [ids for ids in found if len(ids)]
    both = [*found, *(ids for ids in groups if len(ids))]
    pairs = [np.stack([np.full(len(ids), ids[0]), ids], axis=1) for ids in both]
    if not found:
        return []
    joined = np.concatenate(pairs)
    named = np.unique(joined)
    group = unite(int(named[-1]) + 1, None, joined)
    return [named[group[named] == one] for one in np.unique(group[np.concatenate(found)])]


def removal_kinds(names: str | Iterable[str]) -> tuple[str, ...]:
    """Kinds of findings from command-line names: 'duplicates,conflicts', or a list.

    Raises
    ------
    DatapropsError
        If a name is unknown, or none is given.

    >>> removal_kinds("duplicates, conflicts")
    ('exact_duplicates', 'label_conflicts')
    """
    given = [name.strip() for name in (names.split(",") if isinstance(names, str) else names)]
    kinds = []
    shown = ", ".join(row.names[0] for row in REMOVALS.values())
    for name in filter(None, given):
        if name.lower() not in NAMES:
            hint = did_you_mean(name.lower(), NAMES)
            raise DatapropsError(f"{name!r} cannot be removed: {hint}these can: {shown}")
        kinds.append(NAMES[name.lower()])
    if not kinds:
        raise DatapropsError(f"nothing to remove was named: choose from {shown}")
    return tuple(dict.fromkeys(kinds))


def removed_images(images: pd.DataFrame, findings: pd.DataFrame, kinds: Iterable[str]) -> dict[int, str]:
    """Id of each image to remove -> the first of `kinds` that removes it.

    Parameters
    ----------
    images : DataFrame
        split, duplicate_of; row i is image i.
    findings : DataFrame
        kind, images.
    """
    out: dict[int, str] = {}
    for kind in kinds:
        found = [np.asarray(ids) for ids in findings.loc[findings["kind"] == kind, "images"]]
        if kind == LEAKS:  # otherwise a removed image could leave copies in training and test
            copies = findings.loc[findings["kind"].isin(COPIES), "images"]
            found = with_their_groups(found, [np.asarray(ids) for ids in copies])
        for image in sorted(REMOVALS[kind].choose(images, found)):
            out.setdefault(image, kind)
    return out
