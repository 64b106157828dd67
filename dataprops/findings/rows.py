"""Rows of the findings table, and text and counts shared by several findings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest

import numpy as np
import pandas as pd

Row = tuple[Sequence[int] | np.ndarray, float, str]


def rows(kind: str, severity: str, images: pd.DataFrame, found: Iterable[Row]) -> pd.DataFrame:
    """Findings of one kind, as rows of the table.

    Parameters
    ----------
    images : DataFrame
        The run's images; row i is image i.
    found : iterable of (image ids, value, sentence)
    """
    paths = images["path"].to_numpy(object)
    records = [
        {
            "kind": kind,
            "severity": severity,
            "images": [int(i) for i in ids],
            "paths": [str(paths[i]) for i in ids],
            "value": float(value),
            "detail": detail,
        }
        for ids, value, detail in found
    ]
    return pd.DataFrame(records, columns=["kind", "severity", "images", "paths", "value", "detail"])


def or_none(column: pd.Series) -> np.ndarray:
    """Values of a column, object [n]; missing ones are None."""
    return column.astype(object).where(column.notna(), None).to_numpy(object)


def differ(values: np.ndarray, a: int, b: int) -> bool:
    """Whether two images have different values (from `or_none`), both known."""
    return values[a] is not None and values[b] is not None and values[a] != values[b]


def in_turn(by_class: Iterable[Sequence[int]]) -> list[int]:
    """Interleave the examples of several classes: one of each, then the next of each.

    >>> in_turn([[1, 2], [7], [8, 9]])
    [1, 7, 8, 2, 9]
    """
    return [int(i) for turn in zip_longest(*by_class) for i in turn if i is not None]


def quoted(path: str) -> str:
    """A path, quoted for a sentence."""
    return f"“{path}”"


def split_names(names: Iterable[str]) -> str:
    """Names joined for a sentence, e.g. 'train and test'."""
    ordered = sorted(set(names))
    return ordered[0] if len(ordered) == 1 else f"{', '.join(ordered[:-1])} and {ordered[-1]}"


def pairs_across(sizes: pd.Series) -> int:
    """Pairs of identical images across parts, from the number of images per content (first level) and part (second)."""
    whole = sizes.groupby(level=0).sum()
    return (int((whole**2).sum()) - int((sizes**2).sum())) // 2
