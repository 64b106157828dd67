"""Manifest columns (site, scanner, protocol) that predict the class, by the class most often seen with each value, cross-validated."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pandas as pd

from dataprops.findings.rows import quoted
from dataprops.util.numbers import percent

MOST_VALUES, PER_VALUE = 50, 8  # categories of a column at most; minimum images per category on average
PER_NUMBER = 5  # minimum images per distinct number
NUMERIC = 0.9  # fraction of values that must be numeric
KNOWN = 0.5  # minimum fraction of images with a value
SURE = 4.0  # minimum standard errors above chance
SHOWN = 3  # values per class listed in a sentence
# words for labels, and for ids of images or patients, as last word of a column name
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
    """Whether a column name denotes labels, splits or ids.

    >>> [is_name(name) for name in ("site", "scanner model", "class_id", "PatientID", "Finding Labels", "label")]
    [False, False, True, True, True, True]
    """
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", column)
    words = re.findall(r"[A-Za-z]+", plain)
    return bool(words) and words[-1].lower() in NAMES


def columns_of(described: pd.DataFrame, images: pd.DataFrame) -> Iterator[tuple[str, np.ndarray]]:
    """Name and values of the columns to test: categories as codes (int, -1: missing), or numbers (float).

    Excluded: ids (nearly as many values as images), columns named as labels or ids, and columns equivalent to the label or the
    patient id.
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
    """Whether values and groups map one to one."""
    if not group.notna().all():
        return False
    pairs = pd.DataFrame({"a": values.to_numpy(object), "b": group.to_numpy(object)}).drop_duplicates()
    return len(pairs) == pairs["a"].nunique() == pairs["b"].nunique()


def seen_with(values: np.ndarray, y: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Class most often seen with each value (codes [n], -1: missing) in the other folds, classes weighted equally; -1: none."""
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
    """What the most common values of a column go with: '“north”: sick (98 % of 120), “south”: well (all of 118)'."""
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
