"""A manifest: a CSV or Parquet table with a path and a label for each image, and optionally split and group.

It may lie at an address, and list addresses. What may be secret in a listed one (a signature) is no part of the image's key: the
manifest is looked into again when the image is read.
"""

from __future__ import annotations

import errno
import io
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from dataprops.errors import DatapropsError
from dataprops.sources.folder import SPLITS
from dataprops.sources.remote import filesystems
from dataprops.sources.remote.filesystems import Access, access_of
from dataprops.sources.table import SourceOptions, column_values, image_table
from dataprops.util.cache import Kept
from dataprops.util.redact import HIDDEN, is_url, redacted

SUFFIXES = (".csv", ".parquet")


def scan(location: str, options: SourceOptions) -> pd.DataFrame:
    """List the images of a manifest; see `sources.Source`. Relative paths count from the manifest's folder.

    Raises
    ------
    DatapropsError
        If the manifest cannot be read, lacks a column, or gives one path two different rows.
    """
    table = _load(location, access_of(options))
    where = redacted(location)
    for column, what in ((options.path_column, "path"), (options.label_column, "label")):
        if column not in table.columns:
            raise DatapropsError(
                f"{where} has no column {column!r} (it has {', '.join(map(str, table.columns))}):"
                f" name it with --{what}-column"
            )
    if table.empty:
        raise DatapropsError(f"{where} lists no images")
    paths = _texts(table[options.path_column])
    missing = [row for row, path in enumerate(paths) if path is None]
    if missing:
        raise DatapropsError(f"{where}, row {missing[0] + 1}, column {options.path_column!r}: no path")
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
            f"{where}, rows {first + 1} and {second + 1}: {kept['path'][first]!r} is listed twice and differently:"
            " keep one of them"
        )
    out = image_table(
        key=_keys(kept["path"].tolist()),
        label=kept["label"].tolist(),
        split=[None if value is None else SPLITS.get(value.lower(), value) for value in kept["split"]],
        group=kept["group"].tolist(),
    )
    out.attrs.update(ignored=[], empty_classes=[], repeated_rows=len(rows) - len(kept))
    return out


def _load(location: str, access: Access) -> pd.DataFrame:
    path = redacted(location)
    if not is_url(location) and not Path(location).is_file():
        raise DatapropsError(f"there is no manifest {path}")
    try:
        data = io.BytesIO(filesystems.read_bytes(location, access)) if is_url(location) else location
        if location.partition("?")[0].lower().endswith(".parquet"):
            columns = pq.read_table(data)
            # not through pandas' types: whole numbers stay whole numbers where a label is missing
            return pd.DataFrame(
                {name: pd.Series(column_values(columns[name]), dtype=object) for name in columns.column_names}
            )
        # labels stay the text they are: 007 is no 7
        table = pd.read_csv(data, dtype=str, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:  # pandas' and Arrow's parsing errors are ValueErrors
        reason = getattr(error, "strerror", None) or redacted(str(error))
        raise DatapropsError(f"{path} cannot be read as a table: {reason}") from None
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


def _keys(paths: list[str]) -> list[str]:
    """Keys of listed paths: without what may be secret in addresses, and still each its own."""
    if not any(map(is_url, paths)):
        return paths
    keys = [redacted(path) if is_url(path) else path for path in paths]
    count = Counter(keys)
    return [key if count[key] == 1 else f"{key}#{row + 1}" for row, key in enumerate(keys)]


_addresses: Kept[dict[str, str]] = Kept(2_000_000, len)


def _place(location: str, key: str, options: SourceOptions) -> str:
    """Where a listed image lies."""
    if is_url(key) and HIDDEN in key:
        access = access_of(options)

        def load() -> dict[str, str]:
            rows = _texts(_load(location, access)[options.path_column])
            paths = list(dict.fromkeys(path for path in rows if path is not None))
            return dict(zip(_keys(paths), paths, strict=True))

        known = _addresses.get((filesystems.identity(location, access), options.path_column), load)
        if key not in known:
            raise OSError(errno.ENOENT, "the manifest lists it no more")
        key = known[key]
    if is_url(key):
        scheme = key.partition("://")[0].lower()
        if scheme not in filesystems.SCHEMES:
            raise OSError(errno.EINVAL, f"addresses of the scheme {scheme} are not read")
        return key
    return filesystems.joined(filesystems.parent(location), key)


def read(location: str, key: str, options: SourceOptions) -> bytes:
    """The bytes of one listed file."""
    if is_url(location) or is_url(key):
        return filesystems.read_bytes(_place(location, key, options), access_of(options))
    file = Path(location).parent / key
    if "\0" in key or (file.exists() and not file.is_file()):  # a pipe would block who reads it
        raise OSError(errno.EINVAL, "it is no file")
    return file.read_bytes()


def stamps(location: str, keys: Sequence[str], options: SourceOptions) -> list[int]:
    """A number for each listed image at an address, that changes when it does; each is asked for (HEAD). -1 for local files."""
    out = [-1] * len(keys)
    asked = [i for i, key in enumerate(keys) if is_url(key) or is_url(location)]
    try:
        where = [_place(location, keys[i], options) for i in asked]
    except OSError:
        return out
    for i, stamp in zip(asked, filesystems.stamps(where, access_of(options)), strict=True):
        out[i] = stamp
    return out
