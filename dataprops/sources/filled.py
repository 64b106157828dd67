"""Fill in missing values from files beside the images, and record images that these list but that are missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from dataprops.sources.account import ABSENT, Decision, decide, withdraw
from dataprops.sources.labels import SEPARATOR


def fill(table: pd.DataFrame, rows: Mapping[str, int], values: Mapping[str, list[str | None]]) -> int:
    """Fill in unknown values from a table.

    Parameters
    ----------
    rows : mapping
        Image -> row of the table.
    values : mapping
        Column of `table` -> value of each row.

    Returns
    -------
    int
        Number of images that the table lists.
    """
    at = [rows.get(key) for key in table["key"]]
    for column, told in values.items():
        own = table[column].tolist()
        if column == "label" and any(known is None and row is not None for known, row in zip(own, at, strict=True)):
            table.attrs["empty_classes"] = []  # folders are not the classes here, so an empty one is not an empty class
        table[column] = pd.Series(
            [known if row is None or known is not None else told[row] for known, row in zip(own, at, strict=True)],
            dtype=object,
        )
    return sum(row is not None for row in at)


def fill_labels(table: pd.DataFrame, labels: Mapping[str, str | None]) -> int:
    """Fill in unknown labels: image -> label, or several joined by `SEPARATOR`. Returns the number of images listed."""
    if any(SEPARATOR in (label or "") for label in labels.values()):
        table.attrs["several"] = True
    return fill(table, {key: row for row, key in enumerate(labels)}, {"label": list(labels.values())})


def tell_labels(table: pd.DataFrame, labels: Mapping[str, str | None], value: str, who: str, more: str = "") -> None:
    """Fill in unknown labels and report it: who names how many of the images."""
    why = f"{who} {fill_labels(table, labels):,} of {len(table):,} images{more}"
    decide(table, Decision("labels", value, why, "--layout"))


def add_absent(table: pd.DataFrame, absent: Sequence[str]) -> None:
    """Record these paths as left out because they are missing."""
    table.attrs["ignored"] = [*table.attrs.get("ignored", ()), *absent]
    table.attrs["reasons"] = {**table.attrs.get("reasons", {}), **dict.fromkeys(absent, ABSENT)}


def replace_labels(table: pd.DataFrame, labels: Mapping[str, str | None], several: bool, *decisions: Decision) -> None:
    """Labels of a file in place of the folders, which are not the classes."""
    table["label"] = pd.Series([labels.get(key) for key in table["key"]], dtype=object)
    withdraw(table, "classes")
    table.attrs.update(empty_classes=[], several=several)
    decide(table, *decisions)
