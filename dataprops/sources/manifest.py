"""A manifest: a table (`tablefile`) with a path and a label for each image, and optionally split and group.

It may lie at an address, and list addresses. What may be secret in a listed one (a signature) is no part of the image's key: the
manifest is looked into again when the image is read.
"""

from __future__ import annotations

import errno
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.sources import resolve
from dataprops.sources.account import Decision, told
from dataprops.sources.columns import PARTS, PATIENTS, labels_of, optional, path_column, texts_of
from dataprops.sources.folder import groups
from dataprops.sources.labels import joined
from dataprops.sources.remote import filesystems
from dataprops.sources.remote.filesystems import Access, access_of
from dataprops.sources.structure import SPLITS
from dataprops.sources.table import SourceOptions, image_table, shown
from dataprops.sources.tablefile import Table, read_table
from dataprops.util.budget import need, read_whole
from dataprops.util.cache import Cache
from dataprops.util.cells import plain_cell
from dataprops.util.redact import HIDDEN, is_url, redacted

SUFFIXES = (".csv", ".tsv", ".xlsx", ".json", ".jsonl", ".ndjson", ".parquet")
_DEFAULTS = SourceOptions()
FEW_JOINED, JOINED = 3, 0.1  # images, and share of them, with rows of different labels that make these rows a list
BYTES_OF_TEXT = 8  # that a byte of a table takes as an object of Python


def scan(location: str, options: SourceOptions) -> pd.DataFrame:
    """List the images of a manifest; see `sources.Source`. Relative paths count from the manifest's folder, or from --images.

    Raises
    ------
    DatapropsError
        If the manifest cannot be read, lacks a column, or gives one path two different rows.
    """
    where = redacted(location)
    read = _load(location, access_of(options))
    frame = read.frame
    if frame.empty and len(frame.columns) > 1:
        raise DatapropsError(f"{where} lists no images")

    def exist(column: str) -> float:
        sample = resolve.sample_of([value for value in texts_of(frame[column]) if value is not None])
        if is_url(location) or not sample:
            return float(is_url(location))
        keys, _, missing = resolve.resolve(sample, Path(location).parent, options)
        return 1 - missing / len(keys)

    column, told_paths = path_column(frame, options, exist, where)
    used = [column]
    labels, several, told_labels = labels_of(frame, options, where, used)
    if frame.empty:
        raise DatapropsError(f"{where} lists no images")
    split, told_split = optional(frame, options.split_column, _DEFAULTS.split_column, PARTS, "split", used)
    group, told_group = optional(frame, options.group_column, _DEFAULTS.group_column, PATIENTS, "group", used)
    paths = _given(texts_of(frame[column]), where, column)
    paths, told_files = _resolved(location, paths, column, options)
    columns = {"path": paths, "label": labels, "split": split, "group": group}
    told_rows = [] if options.as_written else _joined_rows(columns)
    several |= bool(told_rows)
    rows, repeated = _distinct(columns, where)
    keys = _keys(rows["path"].tolist())
    own = rows["group"].tolist()
    if all(group is None for group in own):
        own = groups(keys, options.group_pattern)
    out = image_table(
        key=keys,
        label=rows["label"].tolist(),
        split=[None if value is None else SPLITS.get(value.strip().lower(), value) for value in rows["split"]],
        group=own,
    )
    out.attrs["repeated_rows"] = repeated
    # (ignored, of all): what else the table says of the images takes no part
    unused = [str(name) for name in frame.columns if name not in used and not str(name).startswith("Unnamed")]
    out.attrs["unused_columns"] = (unused, len(frame.columns))
    if several:
        out.attrs["several"] = True
    decisions = [*read.decisions, *told_paths, *told_labels, *told_split, *told_group, *told_files, *told_rows]
    return told(out, {}, (), decisions)


def _given(paths: list[str | None], where: str, column: str) -> list[str]:
    for row, path in enumerate(paths):
        if path is None:
            raise DatapropsError(f"{where}, row {row + 1}, column {column!r}: no path")
    return [path for path in paths if path is not None]


def _resolved(location: str, paths: list[str], column: str, options: SourceOptions) -> tuple[list[str], list[Decision]]:
    """Keys of the paths; those of files that are not there stay, and cannot be read."""
    beside = f"{Path(location).parent.resolve()}/"
    paths = [resolve.plain(path).removeprefix(beside) if path[:5].lower() == "file:" else path for path in paths]
    if is_url(location) or any(map(is_url, paths)):
        slashed = [path if is_url(path) else resolve.plain(path) if "\\" in path else path for path in paths]
        return slashed, []
    keys, decisions, missing = resolve.resolve(paths, Path(location).parent, options)
    if missing == len(paths) and (options.images or options.suffix or _images_beside(Path(location).parent)):
        raise DatapropsError(
            f"{redacted(location)}: none of the {len(paths):,} paths in column {column!r} is a file, such as {shown(paths[0])!r}:"
            " name the folder with --images DIR, the ending with --suffix .png, or another column with --path-column"
        )
    return keys, decisions


def _images_beside(folder: Path) -> bool:
    return any(resolve.list_files(folder).by_name)


def _joined_rows(columns: dict[str, list]) -> list[Decision]:
    """A row for each label, or each object, of an image: the rows get all labels of their image, in place.

    So it is only where several images, and a tenth of them, have such rows; one or two are a mistake, and are told as one.
    """
    found: dict[str, set[str]] = {}
    for path, label in zip(columns["path"], columns["label"], strict=True):
        found.setdefault(path, set()).update(() if label is None else (label,))
    several = [path for path, labels in found.items() if len(labels) > 1]
    if len(several) < max(FEW_JOINED, JOINED * len(found)):
        return []
    columns["label"] = [joined(found[path]) if found[path] else None for path in columns["path"]]
    why = f"{len(several):,} of {len(found):,} images have several rows, such as {shown(several[0])}"
    return [Decision("labels", "all labels of an image's rows", why, "--as-written")]


def _distinct(columns: dict[str, list], where: str) -> tuple[pd.DataFrame, int]:
    """Each row once, and how many were repeated."""
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
    return kept, len(rows) - len(kept)


def _load(location: str, access: Access) -> Table:
    path = redacted(location)
    if not is_url(location) and not Path(location).is_file():
        raise DatapropsError(f"there is no manifest {path}")
    try:
        if not is_url(location):
            need(BYTES_OF_TEXT * Path(location).stat().st_size)
        data = filesystems.read_bytes(location, access) if is_url(location) else Path(location).read_bytes()
        read = read_table(data, location.partition("?")[0] if is_url(location) else location)
        if not location.partition("?")[0].lower().endswith(".parquet"):
            # our own lists have an apostrophe before what a spreadsheet would compute
            frame = read.frame.map(lambda cell: plain_cell(cell) if isinstance(cell, str) else cell)
            read = read._replace(frame=frame)
    except (
        OSError,
        ValueError,
        KeyError,
        zipfile.BadZipFile,
    ) as error:  # pandas' and Arrow's parsing errors are ValueErrors
        reason = getattr(error, "strerror", None) or redacted(str(error)).strip().partition("\n")[0]
        raise DatapropsError(f"{path} cannot be read as a table: {reason}") from None
    if not isinstance(read.frame.index, pd.RangeIndex):  # pandas would shift every column by one
        raise DatapropsError(
            f"{path} has rows with more values than its header has names: name every column, and quote values that hold"
            " commas"
        )
    return read


def _keys(paths: list[str]) -> list[str]:
    """Keys of listed paths: without what may be secret in addresses, and still each its own."""
    if not any(map(is_url, paths)):
        return paths
    keys = [redacted(path) if is_url(path) else path for path in paths]
    count = Counter(keys)
    return [key if count[key] == 1 else f"{key}#{row + 1}" for row, key in enumerate(keys)]


_addresses: Cache[dict[str, str]] = Cache(2_000_000, len)


def _place(location: str, key: str, options: SourceOptions) -> str:
    """Where a listed image lies."""
    if is_url(key) and HIDDEN in key:
        access = access_of(options)

        def load() -> dict[str, str]:
            frame = _load(location, access).frame
            column, _ = path_column(frame, options, lambda _: 1.0, redacted(location))
            rows = texts_of(frame[column])
            paths = list(dict.fromkeys(path for path in rows if path is not None))
            return dict(zip(_keys(paths), paths, strict=True))

        known = _addresses.get((filesystems.identity(location, access), options.path_column), load)
        if key not in known:
            raise OSError(errno.ENOENT, "the manifest no longer lists it")
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
        raise OSError(errno.EINVAL, "not a file")
    return read_whole(file)


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
