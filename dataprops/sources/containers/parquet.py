"""Parquet files with embedded images, as on the Hugging Face hub, and the Arrow files of ``save_to_disk``.

One file, or the shards in a folder. The image column is found by `imagecolumns`, or set by ``--rule images=NAME``. Labels come
from the label column, otherwise from the only ClassLabel, with codes replaced by class names; -1 is unlabelled. The split comes
from the shard's name (``train-00000-of-00003.parquet``). Only the row group of the requested image is read; it is cached.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dataprops.errors import DatapropsError
from dataprops.imaging.decode import RawImage
from dataprops.sources import folder
from dataprops.sources.account import Decision, told
from dataprops.sources.containers import imagecolumns
from dataprops.sources.containers.arrowfile import ArrowFile, open_arrow
from dataprops.sources.containers.members import is_safe, shards_of, split_named
from dataprops.sources.parquetfile import open_parquet, read_group, whole_parquet
from dataprops.sources.remote import filesystems, readers
from dataprops.sources.remote.connections import ACCESS, Access, access_of
from dataprops.sources.remote.readers import open_reader
from dataprops.sources.splitnames import split_value
from dataprops.sources.table import SourceOptions, chosen_rules, column_values, image_table, shown
from dataprops.util.budget import read_whole
from dataprops.util.cache import Cache
from dataprops.util.guard import guarded, reason_of, said
from dataprops.util.redact import is_url, redacted

SUFFIX = (".parquet",)
ARROW = (".arrow",)
RULES: dict[str, tuple[str, ...]] = {**ACCESS, "images": ()}
GROUP_BYTES = 2**31  # maximum size of the images in a row group, which is read whole
KEPT_BYTES = 2**28  # row groups cached per process
BUFFER = 2**20


class Shard(NamedTuple):
    """An open file, its image column, and the first row of each row group (for an Arrow file, of each batch)."""

    file: pq.ParquetFile | ArrowFile
    column: imagecolumns.ImageColumn
    first: list[int]

    @property
    def schema(self) -> pa.Schema:
        return _schema(self.file)

    def read(self, columns: list[str]) -> pa.Table:
        """Read columns, or fields of a struct (``image.path``)."""
        if not isinstance(self.file, ArrowFile):
            return whole_parquet(self.file, columns)
        return self.file.read(list(dict.fromkeys(name.partition(".")[0] for name in columns)))


_groups: Cache[pa.ChunkedArray] = Cache(KEPT_BYTES, lambda column: column.nbytes)


def holds_images(location: str, options: SourceOptions) -> bool:
    """Whether a Parquet file embeds images rather than paths; False if unknown."""
    try:
        with guarded(lambda error: OSError(0, reason_of(error))):
            reader = open_reader(location, access_of(options))
            return imagecolumns.image_column(pq.read_schema(reader.file(BUFFER)), options) is not None
    except OSError:
        return False


def _open(location: str, options: SourceOptions) -> Shard:
    """Open a shard; not cached, because a ParquetFile is not thread-safe.

    Raises
    ------
    DatapropsError
        If it is corrupt, or has no image column.
    """
    try:
        file = _opened(location, access_of(options))
    except (OSError, ValueError) as error:
        raise DatapropsError(
            f"{redacted(location)} cannot be read as {_format(location)}: {said(error)}; is it whole?"
        ) from None
    schema = _schema(file)
    found = imagecolumns.image_column(schema, options)
    if found is None:
        raise DatapropsError(
            f"{redacted(location)} has no image column (it has {', '.join(schema.names)}): name it with --rule images=NAME"
        )
    if isinstance(file, ArrowFile):
        return Shard(file, found, file.first)
    column = found.name
    first = [0]
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        parts = [group.column(i) for i in range(group.num_columns)]
        size = sum(part.total_uncompressed_size for part in parts if part.path_in_schema.split(".")[0] == column)
        if size > GROUP_BYTES:
            raise DatapropsError(
                f"{redacted(location)}: row group {number} holds {size:,} bytes of images, more than {GROUP_BYTES:,}, and must be"
                " read at once: write it again with fewer rows in each row group (row_group_size=100)"
            )
        first.append(first[-1] + group.num_rows)
    return Shard(file, found, first)


def _opened(location: str, access: Access) -> pq.ParquetFile | ArrowFile:
    if _is_arrow(location):
        return open_arrow(location, access)
    reader = open_reader(location, access)
    return open_parquet(reader.file(BUFFER), reader.size)


def _schema(file: pq.ParquetFile | ArrowFile) -> pa.Schema:
    """The schema as stored; that of an open Parquet file describes how columns are read, with strings as dictionaries."""
    if isinstance(file, ArrowFile):
        return file.schema
    return file.metadata.schema.to_arrow_schema().with_metadata(file.schema_arrow.metadata)


def _is_arrow(location: str) -> bool:
    return location.partition("?")[0].lower().endswith(ARROW)


def _format(location: str) -> str:
    return "Arrow" if _is_arrow(location) else "Parquet"


def scan(location: str, options: SourceOptions) -> pd.DataFrame:
    """List the images of Parquet shards; see `sources.Source`.

    Raises
    ------
    DatapropsError
        If a shard cannot be read, or a requested column is missing.
    """
    chosen_rules(options, RULES)
    try:
        base, names = shards_of(location, (*SUFFIX, *ARROW), access_of(options))
    except OSError as error:
        raise DatapropsError(f"{redacted(location)} cannot be listed: {error.strerror}") from None
    if not names:
        raise DatapropsError(f"{redacted(location)} holds no .parquet or .arrow files")
    columns: dict[str, list] = {name: [] for name in ("key", "label", "split", "group", "path")}
    decisions: dict[Decision, None] = {}
    several = False
    for name in names:
        rows = _rows(filesystems.joined(base, name), name, options)
        for column, values in rows.columns.items():
            columns[column] += values
        decisions |= dict.fromkeys(rows.decisions)
        several |= rows.several
    if not columns["key"]:
        raise DatapropsError(f"{redacted(location)} lists no images")
    if options.group_pattern is not None:
        found = folder.groups(columns["path"], options.group_pattern)
        columns["group"] = [given or seen for given, seen in zip(columns["group"], found, strict=True)]
    table = image_table(**columns)
    if several:
        table.attrs["several"] = True
    return told(table, {}, (), decisions)


class Rows(NamedTuple):
    """Columns of a shard's images, the decisions made, and whether images may have several labels."""

    columns: dict[str, list]
    decisions: list[Decision]
    several: bool


def _rows(location: str, name: str, options: SourceOptions) -> Rows:
    shard = _open(location, options)
    schema, n, images = shard.schema, shard.first[-1], shard.column.name
    label, decisions = imagecolumns.label_column(schema, images, redacted(location), options)
    kind = schema.field(images).type
    has_path = shard.column.kind == imagecolumns.FILE and kind.get_field_index("path") >= 0
    group, told_group = imagecolumns.group_column(schema, options)
    wanted = [c for c in (label, options.split_column, group) if c is not None and c in schema.names and c != images]
    inner = [f"{images}.path"] if has_path else [images] if shard.column.kind == imagecolumns.LIST else []
    try:
        table = shard.read([*wanted, *inner])
    except (OSError, ValueError) as error:
        raise DatapropsError(f"{redacted(location)} cannot be read as {_format(location)}: {said(error)}") from None

    def texts(column: str | None) -> list[str | None]:
        if column is None or column not in table.column_names or column == images:
            return [None] * n
        codes = imagecolumns.class_names(imagecolumns.features(schema).get(column))
        return [imagecolumns.text_of(value, codes) for value in column_values(table[column])]

    inside: list[str | None] = [None] * n
    if has_path:
        found = column_values(pc.struct_field(table[images], "path"))
        inside = [os.fsdecode(path) if isinstance(path, bytes) else path for path in found]
    width = len(str(max(n - 1, 0)))
    keys = [f"{name}/{row:0{width}d}" for row in range(n)]
    split = split_named(name)
    columns = {
        "key": keys,
        "label": texts(label),
        "split": [split if value is None else split_value(value) for value in texts(options.split_column)],
        "group": texts(group),
        "path": [shown(f"{key}/{path}" if path else key) for key, path in zip(keys, inside, strict=True)],
    }
    several = label is not None and label in table.column_names and imagecolumns.is_list(schema.field(label).type)
    decisions = [*shard.column.decisions, *decisions, *told_group]
    if shard.column.kind == imagecolumns.LIST:
        columns, more = _each(columns, pc.list_value_length(table[images]).to_pylist(), images)
        decisions += more
    return Rows(columns, decisions, several)


def _each(columns: dict[str, list], counts: list[int | None], name: str) -> tuple[dict[str, list], list[Decision]]:
    """Split rows with several images into one row per image; a row without images is kept, and unreadable."""
    at = [(row, item) for row, count in enumerate(counts) for item in range(max(1, count or 0))]
    out = {column: [values[row] for row, _ in at] for column, values in columns.items()}
    for column in ("key", "path"):
        out[column] = [f"{columns[column][row]}.{item}" for row, item in at]
    if len(at) == len(counts):
        return out, []
    why = f"{len(counts):,} rows hold {len(at):,} images in {name!r}"
    return out, [Decision("columns", "every image of a row is read, with the row's label", why, "--rule images=NAME")]


def _located(location: str, key: str) -> tuple[str, int, int]:
    """Shard, row, and position in the row of a key."""
    found = re.fullmatch(r"(.*\.(?:parquet|arrow))/(\d+)(?:\.(\d+))?", key, re.IGNORECASE | re.DOTALL)
    if not found:
        raise OSError(errno.ENOENT, "there is no such row")
    plain = location.partition("?")[0]
    single = plain.lower().endswith((*SUFFIX, *ARROW)) and "{" not in plain and not filesystems.is_folder(location)
    base = filesystems.parent(location) if single or "{" in plain else location
    return (location if single else filesystems.joined(base, found[1])), int(found[2]), int(found[3] or 0)


def read(location: str, key: str, options: SourceOptions) -> bytes | RawImage:
    """Read one image."""
    place, row, item = _located(location, key)
    access = access_of(options)
    try:
        shard = _shards.get((readers.identity(place, access), options.rules), lambda: _open(place, options))
    except DatapropsError as error:
        raise OSError(errno.EIO, str(error)) from None
    if row >= shard.first[-1]:
        raise OSError(errno.ENOENT, "there is no such row")
    number = next(i for i in range(len(shard.first) - 1) if row < shard.first[i + 1])
    column = _groups.get(
        (readers.identity(place, access), shard.column.name, number),
        lambda: _read_group(place, shard, number, access),
    )
    found = column[row - shard.first[number]]
    if not found.is_valid:
        raise OSError(errno.ENODATA, "the row holds no image")
    if shard.column.kind == imagecolumns.PIXELS:
        return imagecolumns.pixels_of(found.as_py())
    if shard.column.kind == imagecolumns.LIST:
        if item >= len(found):
            raise OSError(errno.ENODATA, "the row holds no image")
        found = found[item]
    return _encoded(found, place, access)


def _encoded(found: pa.Scalar, place: str, access: Access) -> bytes:
    """Bytes of an image; for a struct without bytes, those of the file it names, below the table's folder."""
    # not the whole struct: its path may not be a string
    is_struct = isinstance(found, pa.StructScalar)
    value = (found["bytes"].as_py() if is_struct else found.as_py()) if found.is_valid else None
    if isinstance(value, bytes):
        return value
    path = found["path"].as_py() if is_struct and found.is_valid and "path" in found else None
    if not isinstance(path, str) or not path:
        raise OSError(errno.ENODATA, "the row holds no image")
    base = filesystems.parent(place)
    path = path.removeprefix(f"{base}/").replace("\\", "/")
    if not is_safe(path):
        raise OSError(errno.EACCES, "the row holds no image, and names a file outside of the table's folder")
    file = filesystems.joined(base, path)
    return filesystems.read_bytes(file, access) if is_url(file) else read_whole(file)


# threads share only the metadata; each row group is read through its own file
_shards: Cache[Shard] = Cache(64)


def _read_group(place: str, shard: Shard, number: int, access: Access) -> pa.ChunkedArray:
    try:
        if isinstance(shard.file, ArrowFile):
            return pa.chunked_array([shard.file.batch(number).column(shard.column.name)])
        reader = open_reader(place, access)
        file = open_parquet(reader.file(BUFFER), reader.size, shard.file.metadata)
        return read_group(file, number, [shard.column.name]).column(shard.column.name)
    except (OSError, ValueError) as error:
        raise OSError(errno.EIO, f"the {_format(place)} file is damaged: {said(error)}") from None


def version_tokens(location: str, keys: Sequence[str], options: SourceOptions) -> list[int]:
    """A number per image that changes when its shard does."""
    return filesystems.version_tokens([_located(location, key)[0] for key in keys], access_of(options))
