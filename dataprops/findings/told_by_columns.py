"""Which other columns of a manifest (site, scanner, protocol) tell the class: by the values seen with it, under cross-validation."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd

from dataprops.findings.rows import quoted
from dataprops.util.numbers import percent

MOST_VALUES, PER_VALUE = 50, 8  # of a column of categories; images for each of its values, on average
PER_NUMBER = 5  # images for each value of a column of numbers
NUMERIC = 0.9  # of the values that must be numbers
KNOWN = 0.5  # of the images that a column must say something of
SURE = 4.0  # standard errors of guessing by which it must be better
SHOWN = 3  # values that a sentence tells of each class
# the label in other words, or what names an image or a patient, by the last word of the column's name
NAMES = frozenset(
    (
        *(
            "label",
            "labels",
            "class",
            "classes",
            "classname",
            "target",
            "category",
            "diagnosis",
            "dx",
            "finding",
            "findings",
            "y",
        ),
        *("id", "ids", "uid", "classid", "index", "path", "file", "filename", "name", "image"),
        *("patient", "subject", "participant", "split", "fold", "group"),
    )
)


def is_name(column: str) -> bool:
    """Whether a column is called as labels, parts and ids are.

    >>> [is_name(name) for name in ("site", "scanner model", "class_id", "PatientID", "Finding Labels", "label")]
    [False, False, True, True, True, True]
    """
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", column)
    words = re.findall(r"[A-Za-z]+", plain)
    return bool(words) and words[-1].lower() in NAMES


def columns_of(described: pd.DataFrame, images: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    """Name and values of the columns that may tell something: categories as codes (int, -1: not known), or numbers (float).

    Left out are columns of ids (nearly as many values as images), those called as labels and ids are, and those that say the same as
    the label's own words or the patient.
    """
    rows = described.iloc[images["image"].to_numpy(np.int64)]
    for column in described:
        values = rows[column].astype(object)
        known = values.dropna()
        if is_name(str(column)) or len(known) < KNOWN * len(images):
            continue
        own = images["label"].astype(str).to_numpy(object)[values.notna()]
        if (known.astype(str).to_numpy(object) == own).all() or _same(
            known, images["group"][values.notna().to_numpy()]
        ):
            continue
        count = known.nunique()
        if 1 < count <= min(MOST_VALUES, max(2, len(known) // PER_VALUE)):
            yield str(column), pd.factorize(values, sort=True)[0]
            continue
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(float)
        if count > 1 and count <= len(known) // PER_NUMBER and np.isfinite(numbers).sum() >= NUMERIC * len(known):
            yield str(column), numbers


def _same(values: pd.Series, group: pd.Series) -> bool:
    """Whether values and groups name each other."""
    if not group.notna().all():
        return False
    pairs = pd.DataFrame({"a": values.to_numpy(object), "b": group.to_numpy(object)}).drop_duplicates()
    return len(pairs) == pairs["a"].nunique() == pairs["b"].nunique()


def seen_with(values: np.ndarray, y: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """The class that a value (codes [n], -1: not known) was seen with most in the other folds, classes weighing the same; -1: none."""
    classes = int(y.max()) + 1
    found = np.full(len(y), -1)
    for fold in np.unique(folds):
        test = folds == fold
        size = np.bincount(y[~test], minlength=classes)
        table = np.zeros((int(values.max()) + 2, classes))
        np.add.at(table, (values[~test], y[~test]), 1.0)
        table /= np.maximum(size, 1)
        best = np.where(table.sum(1) > 0, table.argmax(1), -1)
        found[test] = best[values[test]]
    return found


def better_than_guessing(found: np.ndarray, y: np.ndarray) -> tuple[float, float, bool]:
    """Balanced accuracy, chance, and whether it exceeds chance by `SURE` standard errors."""
    size = np.bincount(y)
    accuracy = float((np.bincount(y[found == y], minlength=len(size)) / size).mean())
    chance = 1 / len(size)
    error = np.sqrt((chance * (1 - chance) / size).sum()) / len(size)
    return accuracy, chance, accuracy - chance >= SURE * error


def told_with(values: pd.Series, label: pd.Series) -> str:
    """What the commonest values of a column go with: '“north”: sick (98 % of 120), “south”: well (all of 118)'."""
    known = values.notna().to_numpy()
    table = pd.crosstab(values[known].astype(str).to_numpy(object), label[known].astype(str).to_numpy(object))
    if len(table) > MOST_VALUES:
        return ""
    parts = []
    for value in table.sum(axis=1).sort_values(ascending=False, kind="stable").index[: SHOWN * table.shape[1]]:
        row = table.loc[value]
        share, many = row.max() / row.sum(), int(row.sum())
        parts.append(f"{quoted(str(value))}: {row.idxmax()} ({'all' if share == 1 else percent(share)} of {many:,})")
    return ", ".join(parts[: 2 * SHOWN])
