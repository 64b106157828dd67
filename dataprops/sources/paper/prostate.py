"""Prostate MRI (Prostate-MRI-US-Biopsy): slices of series whose targets are scored 0 to 5; or slices in folders by score.

A score of 2 or more is positive. A series has the highest score of its targets. Only the central half of its slices is
used, as in the authors' scripts: the others show little of the prostate.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.sources.paper.layout import (
    Image,
    in_class_folders,
    key_of,
    listing,
    missing,
    need,
    numbered,
    read_table,
    whole,
)

log = logging.getLogger(__name__)

TREE = """\
    PATH/Target Data_2019-12-05.csv (or .xlsx; any name Target*Data*)
    PATH/Prostate-MRI-US-Biopsy/Prostate-MRI-US-Biopsy-0001/<study>/<series UID>/1-01.dcm ...    (or in PATH/manifest-*/)
    or slices in folders by score:  PATH/0 ... PATH/5, or the same in PATH/train, PATH/val, PATH/test
"""
RULES = {"label": ("cancer", "severe", "score"), "slices": ("central", "all")}
IMAGES = "Prostate-MRI-US-Biopsy"
SCORE = "UCLA Score (Similar to PIRADS v2)"
SERIES = "seriesInstanceUID_MR"
SCORES = {str(score): str(score) for score in range(6)}
LEAST_SCORE = 2
# slices in class folders: 17_33.png is slice 33 of target 17, as written by the authors' scripts
PATIENT = re.compile(r"(Prostate-MRI-US-Biopsy-\d+|ProstateX-\d+)|^(\d+)_\d+\.[^.]+$")


def scan(root: Path, rules: Mapping[str, str]) -> pd.DataFrame:
    """List the slices; see `paper.Reader`. Series not on disk are skipped."""
    if not root.is_dir():
        raise missing("prostate", root, TREE)
    if prepared := in_class_folders(root, SCORES, PATIENT):
        found, ignored, empty = prepared
        images = [image._replace(label=score_label(int(str(image.label)), rules["label"])) for image in found]
        return listing((image for image in images if image.label is not None), ignored, empty)
    file = need("prostate", TREE, root, "Target*Data*.csv", "Target*Data*.xlsx")
    base = need("prostate", TREE, root, IMAGES, f"manifest-*/{IMAGES}")
    images = []
    absent = 0
    for (patient, series), score in _scores(file).items():
        folder = next((place for place in sorted(base.glob(f"{patient}/*/{series}")) if place.is_dir()), None)
        if folder is None:
            absent += 1
            continue
        label = score_label(score, rules["label"])
        if label is None:
            continue
        names = [name for _, name in numbered(entry.name for entry in folder.iterdir() if entry.suffix == ".dcm")]
        kept = names[len(names) // 4 : 3 * len(names) // 4] if rules["slices"] == "central" else names
        images += [Image(key_of(folder / name, root), label, None, patient) for name in kept]
    if absent:
        log.info("%d series of %s are not in %s", absent, file.name, base)
    if not images:
        raise missing("prostate", base / f"{IMAGES}-0001/<study>/<series UID>/1-01.dcm", TREE)
    return listing(images)


def score_label(score: int, rule: str) -> str | None:
    """Class of a score; None: left out.

    >>> [score_label(score, "cancer") for score in (1, 2)], [score_label(score, "severe") for score in (1, 2, 3)]
    (['negative', 'positive'], [None, 'negative', 'positive'])
    """
    if rule == "score":
        return str(score)
    if rule == "severe":
        return None if score < LEAST_SCORE else "positive" if score > LEAST_SCORE else "negative"
    return "positive" if score >= LEAST_SCORE else "negative"


def _scores(file: Path) -> dict[tuple[str, str], int]:
    """(patient, series) -> highest score of its targets; targets without score or MR series are skipped."""
    table = read_table(file, ("Patient ID", SERIES, SCORE))
    scores: dict[tuple[str, str], int] = {}
    for row, (patient, series, text) in enumerate(zip(table["Patient ID"], table[SERIES], table[SCORE], strict=True)):
        if not text.strip() or not series.strip():
            continue
        score = whole(text, file, row, SCORE)
        if str(score) not in SCORES:
            raise DatapropsError(f"{file}, row {row + 1}, column {SCORE!r}: {score} is not one of 0 to 5")
        key = patient.strip(), series.strip()
        for name in key:  # these become parts of a path
            if not re.fullmatch(r"[\w.-]+", name) or name in (os.curdir, os.pardir):
                raise DatapropsError(f"{file}, row {row + 1}: {name!r} is not the name of a patient or a series")
        scores[key] = max(score, scores.get(key, score))
    return scores
