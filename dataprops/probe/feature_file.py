"""Read a user's features from a file: ``.npy`` (one row per image, in listing order) or ``.parquet`` (with a path column)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dataprops.errors import DatapropsError

KINDS = (".npy", ".parquet")
STRIP = 4096  # rows checked for NaN at once


def read_features(file: str, paths: Sequence[str], path_column: str = "path", base: str = "") -> np.ndarray:
    """Read features as float [n, features]; row i belongs to the i-th listed image.

    Parameters
    ----------
    file : str
        ``.npy``: [n, ...], memory-mapped, without pickles. ``.parquet``: a path column, and either numeric columns or one column
        of lists. Rows of images that are not listed are ignored.
    paths : sequence of n str
        As listed, relative to the source.
    path_column : str
    base : str
        Folder of the source, for paths in the file that are relative to another folder.

    Raises
    ------
    DatapropsError
        If it cannot be read, rows are missing or surplus, or a value is NaN or infinite.
    """
    place = Path(file).expanduser()
    if place.suffix.lower() not in KINDS:
        raise DatapropsError(f"the features {file} must be a {' or '.join(KINDS)} file")
    if not place.is_file():
        raise DatapropsError(f"the features file {file} does not exist")
    npy = place.suffix.lower() == ".npy"
    vectors = _from_npy(place, len(paths)) if npy else _from_parquet(place, paths, path_column, base)
    if not vectors.shape[1]:
        raise DatapropsError(f"{file} has no features: its rows are empty")
    for start in range(0, len(vectors), STRIP):
        bad = ~np.isfinite(np.asarray(vectors[start : start + STRIP], np.float64)).all(1)
        if bad.any():
            row = start + int(np.argmax(bad))
            raise DatapropsError(f"{file} contains NaN or infinite values, first at {paths[row]} (row {row})")
    return vectors


def digest(file: str) -> str:
    """Hash of the file's content."""
    with Path(file).expanduser().open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _from_npy(place: Path, n: int) -> np.ndarray:
    try:
        array = np.load(place, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DatapropsError(f"{place} cannot be read as an array of numbers: {error}") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub" or array.ndim < 1:
        raise DatapropsError(f"{place} must contain one numeric array with one row per image")
    if len(array) != n:
        raise DatapropsError(
            f"{place} has {len(array):,} rows, but the set lists {n:,} images: it needs one row per image in listing order"
            " (column `image` of images.parquet), unreadable ones included; or use a .parquet with a path column"
        )
    return array.reshape(n, -1)


def _from_parquet(place: Path, paths: Sequence[str], path_column: str, base: str) -> np.ndarray:
    try:
        table = pd.read_parquet(place)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise DatapropsError(f"{place} cannot be read as Parquet: {error}") from error
    if path_column not in table.columns:
        raise DatapropsError(
            f"{place} has no column {path_column!r}; it has {', '.join(map(str, table.columns[:20]))} (set --path-column)"
        )
    named = table[path_column].astype(str)
    if named.duplicated().any():
        raise DatapropsError(f"{place} lists {named[named.duplicated()].iloc[0]} twice: it needs one row per image")
    row_of = dict(zip(named, range(len(named)), strict=True))
    rows = np.array([_row(path, row_of, base) for path in paths], np.int64)
    if (rows < 0).any():
        missing = [path for path, row in zip(paths, rows, strict=True) if row < 0]
        raise DatapropsError(
            f"{place} has no row for {len(missing):,} of {len(paths):,} images; the first is {missing[0]} (paths are relative to"
            " the source, as in images.parquet)"
        )
    return _numbers(place, table.drop(columns=path_column))[rows]


def _row(path: str, row_of: dict[str, int], base: str) -> int:
    forms = [path, f"./{path}"]
    if base:
        forms += [str(Path(base) / path), str((Path(base) / path).expanduser().resolve())]
    return next((row_of[form] for form in forms if form in row_of), -1)


def _numbers(place: Path, values: pd.DataFrame) -> np.ndarray:
    lists = [name for name in values.columns if values[name].dtype == object]
    if len(values.columns) == 1 and len(lists) == 1:
        rows = [np.asarray(value, np.float64).ravel() for value in values[lists[0]]]
        lengths = {len(row) for row in rows}
        if len(lengths) > 1:
            raise DatapropsError(f"{place}: the vectors of {lists[0]!r} have {min(lengths)} to {max(lengths)} values")
        return np.stack(rows)
    numeric = values.select_dtypes(["number", "bool"])
    if not len(numeric.columns):
        raise DatapropsError(
            f"{place} has no numbers: it needs numeric columns, or one column of lists, beside the paths"
        )
    return numeric.to_numpy(np.float64)
