"""A manifest: a table (`tablefile`) with the path and label of each image, and optionally split and group.

It may be at a URL and may list URLs. Possible secrets in a listed URL (a signature) are not part of the image's key: the URL is
looked up in the manifest again when the image is read.
"""

from __future__ import annotations

import errno
import functools
import itertools
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from dataprops.errors import DatapropsError
from dataprops.sources import resolve
from dataprops.sources.account import Decision, told
from dataprops.sources.columns import (
    long_table,
    path_column,
    roles,
    texts_of,
    without_labels,
)
from dataprops.sources.companions import Companions
from dataprops.sources.folder import groups
from dataprops.sources.labels import joined
from dataprops.sources.lists import split_of_list, with_splits
from dataprops.sources.remote import connections, filesystems, readers
from dataprops.sources.remote.connections import Access, access_of
from dataprops.sources.structure import infer
from dataprops.sources.table import Said, SourceOptions, image_table, shown
from dataprops.sources.tablefile import Table, read_table
from dataprops.sources.tablepatients import with_patients
from dataprops.util.budget import need, read_whole
from dataprops.util.cache import Cache
from dataprops.util.cells import plain_cell
from dataprops.util.guard import said
from dataprops.util.redact import HIDDEN, is_url, redacted

SUFFIXES = (".csv", ".tsv", ".xlsx", ".json", ".jsonl", ".ndjson", ".parquet")
_DEFAULTS = SourceOptions()
FEW_JOINED, JOINED = 3, 0.1  # minimum number and fraction of images with rows of different labels, for multi-label rows
NO_PATHS = 0.05  # maximum fraction of rows without an image
BYTES_OF_TEXT = 8  # bytes of memory per byte of the table, as Python objects
DESCRIBED = 50  # other columns kept, besides path, label, split and group


def scan(location: str, options: SourceOptions) -> pd.DataFrame:
    """List the images of a manifest; see `sources.Source`. Relative paths are relative to the manifest's folder, or to --images.

    Raises
    ------
    DatapropsError
        If the manifest cannot be read, lacks a column, or gives one path two different rows.
    """
    where = redacted(location)
    frame, decisions = _load(location, access_of(options))
    if frame.empty and len(frame.columns) > 1:
        raise DatapropsError(f"{where} lists no images")
    files = _Files(location, frame, options)
    if not options.as_written and (wide := long_table(frame, files.named)) is not None:
        why = f"its {len(frame):,} rows are one for each image and label"
        decisions = [*decisions, Decision("table", f"{len(wide):,} images", why, "--as-written")]
        frame = wide
    column, told_paths = path_column(frame, options, files.exist, where, files.named)
    frame, told_empty = _with_paths(frame, column, where)
    used = [column]
    bare = without_labels(frame, column, options)
    found = roles(frame, options, where, used, bare)
    if frame.empty:
        raise DatapropsError(f"{where} lists no images")
    paths, told_files = _resolved(location, [str(path) for path in texts_of(frame[column])], column, options)
    columns = {"path": paths, "label": found.label, "split": found.split, "group": found.group}
    told_rows = [] if options.as_written else _joined_rows(columns)
    rows, repeated = _distinct(columns, where)
    keys, positions = _keys(rows["path"].tolist()), rows.index
    rows, told_folders = _of_folders(keys, rows, bare, options)
    out = image_table(keys, *(rows[column].tolist() for column in ("label", "split", "group")))
    out.attrs["repeated_rows"] = repeated
    # columns not used: (ignored, total)
    unused = [str(name) for name in frame.columns if name not in used and not str(name).startswith("Unnamed")]
    out.attrs["unused_columns"] = (unused, len(frame.columns))
    out.attrs["described"] = _described(frame, unused, positions, keys)
    if found.several or told_rows:
        out.attrs["several"] = True
    more = (told_paths, told_empty, found.decisions, told_files, told_rows, told_folders)
    told(out, {}, (), [*decisions, *itertools.chain.from_iterable(more)])
    if not is_url(location) and not options.as_written:
        _of_neighbours(out, Path(location), options)
    return out


def _described(frame: pd.DataFrame, names: list[str], positions: pd.Index, keys: list[str]) -> Said:
    """Values of the other columns by image key, used to find subgroups that are harder than the rest."""
    used = [name for name in names[:DESCRIBED] if name in frame]
    rows = frame[used].iloc[positions]
    return Said({name: dict(zip(keys, texts_of(rows[name]), strict=True)) for name in used})


class _Files:
    """Tests which values of a table are files; lists the folder once, on first use."""

    def __init__(self, location: str, frame: pd.DataFrame, options: SourceOptions) -> None:
        self.location, self.frame, self.options = location, frame, options
        self.base = Path(location).parent

    @functools.cached_property
    def all(self) -> resolve.Files:
        return resolve.list_files(resolve.root_of(self.base, self.options))

    def exist(self, column: str) -> float:
        """Fraction of a sample of a column's values that are existing files."""
        sample = resolve.sample_of([value for value in texts_of(self.frame[column]) if value is not None])
        if is_url(self.location) or not sample:
            return float(is_url(self.location))
        keys, _, missing = resolve.resolve(sample, self.base, self.options)
        return 1 - missing / len(keys)

    def named(self, values: Sequence[str]) -> float:
        """Fraction of a sample of values that match file names."""
        return 0.0 if is_url(self.location) else resolve.named(values, self.all)


def _of_neighbours(table: pd.DataFrame, path: Path, options: SourceOptions) -> None:
    """Fill in missing splits from lists, and patients from another table of the same images, in the manifest's folder."""
    names = sorted(entry.name for entry in path.parent.iterdir() if entry.name != path.name and entry.is_file())
    beside = Companions(table["key"].tolist(), names, lambda name: (path.parent / name).read_bytes(), options)
    if split_of_list(path.name) is None:  # the manifest is not itself a split list
        with_splits(table, beside)
    if table["group"].isna().all() and options.group_column == _DEFAULTS.group_column:
        with_patients(table, beside, [name for name in beside.tables if "metadata" in name.lower()])


def _of_folders(
    keys: list[str], rows: pd.DataFrame, bare: bool, options: SourceOptions
) -> tuple[pd.DataFrame, list[Decision]]:
    """Values inferred from the folders of the listed images: split and patient if the table lacks them; for a bare list, labels
    too.

    Parameters
    ----------
    bare : bool
        Whether the table has no labels.
    """
    found: dict[str, list[str | None]] = {name: rows[name].tolist() for name in ("label", "split", "group")}
    known = {name for name, values in found.items() if any(value is not None for value in values)}
    if options.group_pattern is not None and "group" not in known:
        found["group"] = groups(keys, options.group_pattern)
        known.add("group")
    decisions = []
    if not {"split", "group"} <= known or bare:
        inferred = infer(["" if is_url(key) else key for key in keys], options.layout or None)
        told_of = {"label": ("classes",), "split": ("splits",), "group": ("groups",)}
        for name in ("label", "split", "group") if bare else ("split", "group"):
            alone = name == "split" and not bare and len(set(inferred.split) - {None}) < 2  # a single split is useless
            if name not in known and not alone:
                found[name] = getattr(inferred, name)
                decisions += [made for made in inferred.decisions if made.what in told_of[name]]
    if bare and not any(found["label"]):
        decisions.append(Decision("labels", "none", "the table has no label column", "--label-column"))
    return rows.assign(
        **{name: pd.Series(values, rows.index, dtype=object) for name, values in found.items()}
    ), decisions


def _with_paths(frame: pd.DataFrame, column: str, where: str) -> tuple[pd.DataFrame, list[Decision]]:
    """Rows with a path; a few without one are dropped and reported."""
    none = [row for row, path in enumerate(texts_of(frame[column])) if path is None]
    if len(none) > NO_PATHS * len(frame):
        raise DatapropsError(f"{where}, row {none[0] + 1}, column {column!r}: no path")
    if not none:
        return frame, []
    value = f"{len(none):,} of {len(frame):,} rows left out"
    why = f"no path in column {column!r}, such as row {none[0] + 1}"
    return frame.drop(index=frame.index[none]).reset_index(drop=True), [
        Decision("table", value, why, "naming the images")
    ]


def _resolved(location: str, paths: list[str], column: str, options: SourceOptions) -> tuple[list[str], list[Decision]]:
    """Keys of the paths; missing files are kept, and later reported as unreadable."""
    beside = f"{Path(location).parent.resolve()}/"
    paths = [
        resolve.forward_slashes(path).removeprefix(beside) if path[:5].lower() == "file:" else path for path in paths
    ]
    if is_url(location) or any(map(is_url, paths)):
        slashed = [path if is_url(path) else resolve.forward_slashes(path) if "\\" in path else path for path in paths]
        return slashed, []
    keys, decisions, missing = resolve.resolve(paths, Path(location).parent, options)
    if missing == len(paths) and (options.images or options.suffix or _images_beside(Path(location).parent)):
        raise DatapropsError(
            f"{redacted(location)}: none of the {len(paths):,} paths in column {column!r} is a file, such as {shown(paths[0])!r}:"
            " name the folder with --images DIR, the suffix with --suffix .png, or another column with --path-column"
        )
    return keys, decisions


def _images_beside(folder: Path) -> bool:
    return any(resolve.list_files(folder).by_name)


def _joined_rows(columns: dict[str, list]) -> list[Decision]:
    """If a table has one row per label or object, give each row all labels of its image, in place.

    Requires several images, and at least a tenth of them, with such rows; fewer are treated, and reported, as an error.
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
    """Rows without repeats, and the number of repeats."""
    # dtype object keeps None; type inference would turn it into NaN
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
            # our own exports put an apostrophe before cells that a spreadsheet would evaluate
            read = read._replace(frame=read.frame.apply(_plain))
    except (
        OSError,
        ValueError,
        KeyError,
        zipfile.BadZipFile,
    ) as error:  # includes parsing errors of pandas and Arrow
        raise DatapropsError(f"{path} cannot be read as a table: {redacted(said(error))}") from None
    if not isinstance(read.frame.index, pd.RangeIndex):  # pandas has taken the first column as index
        raise DatapropsError(
            f"{path} has rows with more values than its header has names: name every column, and quote values that hold"
            " commas"
        )
    return read


def _plain(cells: pd.Series) -> pd.Series:
    """Undo `plain_cell` in a column; text columns without a leading apostrophe are returned unchanged."""
    if isinstance(cells.dtype, pd.StringDtype) and not cells.str.startswith("'").any():
        return cells
    return cells.map(lambda cell: plain_cell(cell) if isinstance(cell, str) else cell)


def _keys(paths: list[str]) -> list[str]:
    """Keys of the listed paths: unique, without secrets of URLs."""
    if not any(map(is_url, paths)):
        return paths
    keys = [redacted(path) if is_url(path) else path for path in paths]
    count = Counter(keys)
    return [key if count[key] == 1 else f"{key}#{row + 1}" for row, key in enumerate(keys)]


_addresses: Cache[dict[str, str]] = Cache(2_000_000, len)


def _place(location: str, key: str, options: SourceOptions) -> str:
    """Location of a listed image."""
    if is_url(key) and HIDDEN in key:
        access = access_of(options)

        def load() -> dict[str, str]:
            frame = _load(location, access).frame
            column, _ = path_column(frame, options, lambda _: 1.0, redacted(location))
            rows = texts_of(frame[column])
            paths = list(dict.fromkeys(path for path in rows if path is not None))
            return dict(zip(_keys(paths), paths, strict=True))

        known = _addresses.get((readers.identity(location, access), options.path_column), load)
        if key not in known:
            raise OSError(errno.ENOENT, "the manifest no longer lists it")
        key = known[key]
    if is_url(key):
        scheme = key.partition("://")[0].lower()
        if scheme not in connections.SCHEMES:
            raise OSError(errno.EINVAL, f"addresses of the scheme {scheme} are not read")
        return key
    return filesystems.joined(filesystems.parent(location), key)


def read(location: str, key: str, options: SourceOptions) -> bytes:
    """Read the bytes of a listed file."""
    if is_url(location) or is_url(key):
        return filesystems.read_bytes(_place(location, key, options), access_of(options))
    file = Path(location).parent / key
    if "\0" in key or (file.exists() and not file.is_file()):  # reading a pipe would block
        raise OSError(errno.EINVAL, "not a file")
    return read_whole(file)


def version_tokens(location: str, keys: Sequence[str], options: SourceOptions) -> list[int]:
    """A number per listed image that changes when the remote file does, from one HEAD request each; -1 for local files."""
    out = [-1] * len(keys)
    asked = [i for i, key in enumerate(keys) if is_url(key) or is_url(location)]
    try:
        where = [_place(location, keys[i], options) for i in asked]
    except OSError:
        return out
    for i, token in zip(asked, filesystems.version_tokens(where, access_of(options)), strict=True):
        out[i] = token
    return out
