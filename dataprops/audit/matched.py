"""Matching of images between two audits of a dataset: by path and content, by content, by path."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

COLUMNS = ["image", "path", "label", "content", "pixels"]  # columns needed for matching


class Matched(NamedTuple):
    """Matched images of audits A and B: masks of the kept images, and for each image of B its row in A (-1: none)."""

    kept_a: np.ndarray
    kept_b: np.ndarray
    partner: np.ndarray


def match(a: pd.DataFrame, b: pd.DataFrame) -> Matched:
    """Match images one to one: first by path and content, then by content.

    Files that could not be read have no content and are matched by path.
    """
    partner = np.full(len(b), -1, np.int64)
    one, two = (table["content"].fillna("").to_numpy(object) for table in (a, b))
    paths = [table["path"].to_numpy(object) for table in (a, b)]
    for keys_a, keys_b in ((list(zip(one, paths[0], strict=True)), list(zip(two, paths[1], strict=True))), (one, two)):
        free: dict[Any, list[int]] = {}
        taken = set(partner[partner >= 0].tolist())
        for row in range(len(a) - 1, -1, -1):
            if row not in taken and keys_a[row] != "":
                free.setdefault(keys_a[row], []).append(row)
        for row in np.nonzero(partner < 0)[0]:
            rows = free.get(keys_b[row])
            if rows:
                partner[row] = rows.pop()
    kept_a = np.zeros(len(a), bool)
    kept_a[partner[partner >= 0]] = True
    return Matched(kept_a, partner >= 0, partner)


def partners(before: pd.DataFrame, now: pd.DataFrame) -> np.ndarray:
    """Row in `before` of each image of `now`, int64 [n]; -1: new. By path and content, then content, then path."""
    partner = match(before, now).partner.copy()
    taken = set(partner[partner >= 0].tolist())
    free = {path: row for row, path in enumerate(before["path"]) if row not in taken}
    for row in np.nonzero(partner < 0)[0]:
        partner[row] = free.get(now["path"].iloc[row], -1)
    return partner


def same_files(folder: Path, images: pd.DataFrame) -> bool:
    """Whether an earlier audit had the same files and labels; False if its table is missing.

    Parameters
    ----------
    folder : Path
        Results of the earlier audit.
    images : DataFrame
        path, label, content of the current audit.
    """
    columns = ["path", "label", "content"]
    try:
        before = pd.read_parquet(folder / "images.parquet", columns=columns)
    except (OSError, ValueError):
        return False
    one, two = (table[columns].sort_values("path").fillna("").to_numpy(object) for table in (before, images))
    return np.array_equal(one, two)
