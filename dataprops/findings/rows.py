"""Rows of the table of findings, and the words and counts that several findings share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest

import numpy as np
import pandas as pd

Row = tuple[Sequence[int] | np.ndarray, float, str]


def rows(kind: str, severity: str, images: pd.DataFrame, found: Iterable[Row]) -> pd.DataFrame:
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
    """Values of a column, None where one is missing, object [n]."""
    return column.astype(object).where(column.notna(), None).to_numpy(object)


def differ(values: np.ndarray, a: int, b: int) -> bool:
    """Whether two images have different values (of `or_none`), both of which are known."""
    return values[a] is not None and values[b] is not None and values[a] != values[b]


def in_turn(by_class: Iterable[Sequence[int]]) -> list[int]:
    """Examples of several classes, one of each before the next of each.

    >>> in_turn([[1, 2], [7], [8, 9]])
    [1, 7, 8, 2, 9]
    """
    return [int(i) for turn in zip_longest(*by_class) for i in turn if i is not None]


def quoted(path: str) -> str:
    """A path in a sentence."""
    return f"“{path}”"


def split_names(names: Iterable[str]) -> str:
    """'train and test'."""
    ordered = sorted(set(names))
    return ordered[0] if len(ordered) == 1 else f"{', '.join(ordered[:-1])} and {ordered[-1]}"


def pairs_across(sizes: pd.Series) -> int:
    """Pairs of images of one content in different parts, from how many images of a content (first level) a part (second) has."""
    whole = sizes.groupby(level=0).sum()
    return (int((whole**2).sum()) - int((sizes**2).sum())) // 2
