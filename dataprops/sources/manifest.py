"""A manifest: a CSV or Parquet table with a path and a label for each image, and optionally split and group."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from dataprops.errors import DatapropsError
from dataprops.sources.folder import SPLITS
from dataprops.sources.table import SourceOptions, image_table

SUFFIXES = (".csv", ".parquet")


def scan(location: str, options: SourceOptions) -> pd.DataFrame:
    """List the images of a manifest; see `sources.Source`. Relative paths count from the manifest's folder.

    Raises
    ------
    DatapropsError
        If the manifest cannot be read, lacks a column, or gives one path two different rows.
    """
    table = _load(Path(location))
    for column, what in ((options.path_column, "path"), (options.label_column, "label")):
        if column not in table.columns:
            raise DatapropsError(
                f"{location} has no column {column!r} (it has {', '.join(map(str, table.columns))}):"
                f" name it with --{what}-column"
            )
    if table.empty:
        raise DatapropsError(f"{location} lists no images")
    paths = _texts(table[options.path_column])
    missing = [row for row, path in enumerate(paths) if path is None]
    if missing:
        raise DatapropsError(f"{location}, row {missing[0] + 1}, column {options.path_column!r}: no path")
    columns = {
        "path": paths,
        "label": _texts(table[options.label_column]),
        "split": _optional(table, options.split_column),
        "group": _optional(table, options.group_column),
    }
    # a Series of objects keeps None; whatever infers a type makes it NaN
    rows = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
    kept = rows.drop_duplicates()
    twice = kept["path"].duplicated(keep=False)
    if twice.any():
        first, second = kept.index[kept["path"] == kept["path"][twice].iloc[0]][:2]
        raise DatapropsError(
            f"{location}, rows {first + 1} and {second + 1}: {kept['path'][first]!r} is listed twice and differently:"
            " keep one of them"
        )
    out = image_table(
        key=kept["path"].tolist(),
        label=kept["label"].tolist(),
        split=[None if value is None else SPLITS.get(value.lower(), value) for value in kept["split"]],
        group=kept["group"].tolist(),
    )
    out.attrs.update(ignored=[], empty_classes=[], repeated_rows=len(rows) - len(kept))
    return out


def _load(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise DatapropsError(f"there is no manifest {path}")
    try:
        if path.suffix.lower() == ".parquet":
            columns = pq.read_table(path)
            # not through pandas' types: whole numbers stay whole numbers where a label is missing
            return pd.DataFrame(
                {name: pd.Series(columns[name].to_pylist(), dtype=object) for name in columns.column_names}
            )
        # labels stay the text they are: 007 is no 7
        table = pd.read_csv(path, dtype=str, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:  # pandas' and Arrow's parsing errors are ValueErrors
        raise DatapropsError(f"{path} cannot be read as a table: {error}") from error
    if not isinstance(table.index, pd.RangeIndex):  # pandas would shift every column by one
        raise DatapropsError(
            f"{path} has rows with more values than its header has names: name every column, and quote values that hold"
            " commas"
        )
    return table


def _texts(column: pd.Series) -> list[str | None]:
    return [
        None if pd.isna(value) else os.fsdecode(value) if isinstance(value, bytes) else str(value) for value in column
    ]


def _optional(table: pd.DataFrame, column: str) -> list[str | None]:
    return _texts(table[column]) if column in table.columns else [None] * len(table)


def read(location: str, key: str, options: SourceOptions) -> bytes:
    """The bytes of one listed file."""
    file = Path(location).parent / key
    if "\0" in key or (file.exists() and not file.is_file()):  # a pipe would block who reads it
        raise OSError(errno.EINVAL, "it is no file")
    return file.read_bytes()
