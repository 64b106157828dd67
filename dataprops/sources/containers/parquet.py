"""Parquet files that hold the images themselves, as the Hugging Face hub writes them: one file, or the shards of a folder.

The image column is a struct {bytes, path} or plain binary: the one that the schema's ``huggingface`` metadata calls Image, or the
first such column, or what ``--rule images=NAME`` names. Labels come from the label column, else from the only ClassLabel; its
names stand for the codes, -1 for no label. A shard's name tells the split (``train-00000-of-00003.parquet``). Only the row group that
an image lies in is read, and kept while others of it are asked for.
"""

from __future__ import annotations

import errno
import json
import os
import re
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dataprops.errors import DatapropsError
from dataprops.sources import folder
from dataprops.sources.containers.members import shards_of, split_named
from dataprops.sources.remote import filesystems
from dataprops.sources.remote.filesystems import ACCESS, Access, access_of, open_reader
from dataprops.sources.table import SourceOptions, chosen_rules, column_values, image_table, shown
from dataprops.util.cache import Kept
from dataprops.util.guard import guarded, reason_of
from dataprops.util.redact import redacted

SUFFIX = (".parquet",)
RULES: dict[str, tuple[str, ...]] = {**ACCESS, "images": ()}
GROUP_BYTES = 2**31  # of the images of one row group, which is read at once
KEPT_BYTES = 2**28  # of row groups, for each process
BUFFER = 2**20
_DEFAULTS = SourceOptions()


class Shard(NamedTuple):
    """An open Parquet file: its schema, the image column, and the first row of each row group."""

    file: pq.ParquetFile
    column: str
    first: list[int]


_groups: Kept[pa.ChunkedArray] = Kept(KEPT_BYTES, lambda column: column.nbytes)


def _is_image(kind: pa.DataType) -> bool:
    return pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0 and _is_binary(kind.field("bytes").type)


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _features(schema: pa.Schema) -> dict[str, Any]:
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def image_column(schema: pa.Schema, options: SourceOptions) -> str | None:
    """The column that holds images, or None: then the table is a manifest."""
    named = dict(rule.partition("=")[::2] for rule in options.rules).get("images")
    if named:
        return named if named in schema.names else None
    features = _features(schema)
    able = [field.name for field in schema if _is_image(field.type) or _is_binary(field.type)]
    known = [name for name in able if isinstance(features.get(name), dict) and features[name].get("_type") == "Image"]
    structs = [name for name in able if _is_image(schema.field(name).type)]
    # paths of a manifest may be binary, too
    plain = [name for name in able if options.path_column not in schema.names]
    return next(iter(known or structs or plain), None)


def holds_images(location: str, options: SourceOptions) -> bool:
    """Whether a Parquet file holds images, rather than paths; False where it cannot be told."""
    try:
        with guarded(lambda error: OSError(0, reason_of(error))):
            reader = open_reader(location, access_of(options))
            return image_column(pq.read_schema(reader.file(BUFFER)), options) is not None
    except OSError:
        return False


def _open(location: str, options: SourceOptions) -> Shard:
    """Open a shard; not kept, as a ParquetFile is not for several threads.

    Raises
    ------
    DatapropsError
        If it is damaged, or has no image column.
    """
    try:
        file = pq.ParquetFile(open_reader(location, access_of(options)).file(BUFFER))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise DatapropsError(f"{redacted(location)} cannot be read as Parquet: {reason}; is it whole?") from None
    schema = file.schema_arrow
    column = image_column(schema, options)
    if column is None or not (_is_image(schema.field(column).type) or _is_binary(schema.field(column).type)):
        raise DatapropsError(
            f"{redacted(location)} has no column of images (it has {', '.join(schema.names)}): name it with --rule images=NAME"
        )
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
    return Shard(file, column, first)


def scan(location: str, options: SourceOptions) -> pd.DataFrame:
    """List the images of Parquet shards; see `sources.Source`.

    Raises
    ------
    DatapropsError
        If a shard cannot be read, or the wanted columns are missing.
    """
    chosen_rules(options, RULES)
    try:
        base, names = shards_of(location, SUFFIX, access_of(options))
    except OSError as error:
        raise DatapropsError(f"{redacted(location)} cannot be listed: {error.strerror}") from None
    if not names:
        raise DatapropsError(f"{redacted(location)} holds no .parquet files")
    columns: dict[str, list] = {name: [] for name in ("key", "label", "split", "group", "path")}
    for name in names:
        rows = _rows(filesystems.joined(base, name), name, options)
        for column, values in rows.items():
            columns[column] += values
    if not columns["key"]:
        raise DatapropsError(f"{redacted(location)} lists no images")
    if options.group_pattern is not None:
        found = folder.groups(columns["path"], options.group_pattern)
        columns["group"] = [given or seen for given, seen in zip(columns["group"], found, strict=True)]
    table = image_table(**columns)
    table.attrs.update(ignored=[], empty_classes=[])
    return table


def _rows(location: str, name: str, options: SourceOptions) -> dict[str, list]:
    shard = _open(location, options)
    schema, n = shard.file.schema_arrow, shard.first[-1]
    label = _label_column(schema, shard.column, location, options)
    inner = f"{shard.column}.path"
    has_path = (
        _is_image(schema.field(shard.column).type) and schema.field(shard.column).type.get_field_index("path") >= 0
    )
    wanted = [c for c in (label, options.split_column, options.group_column) if c in schema.names]
    try:
        table = shard.file.read([*wanted, *([inner] if has_path else [])])
    except (OSError, ValueError) as error:
        raise DatapropsError(
            f"{redacted(location)} cannot be read as Parquet: {str(error).partition(chr(10))[0]}"
        ) from None

    def texts(column: str | None) -> list[str | None]:
        if column is None or column not in table.column_names or column == shard.column:
            return [None] * n
        codes = _class_names(_features(schema).get(column))
        return [_text(value, codes) for value in column_values(table[column])]

    inside = [None] * n
    if has_path:
        found = column_values(pc.struct_field(table[shard.column], "path"))
        inside = [os.fsdecode(path) if isinstance(path, bytes) else path for path in found]
    width = len(str(max(n - 1, 0)))
    keys = [f"{name}/{row:0{width}d}" for row in range(n)]
    split = split_named(name)
    return {
        "key": keys,
        "label": texts(label),
        "split": [
            split if value is None else folder.SPLITS.get(value.lower(), value) for value in texts(options.split_column)
        ],
        "group": texts(options.group_column),
        "path": [shown(f"{key}/{path}" if path else key) for key, path in zip(keys, inside, strict=True)],
    }


def _class_names(feature: Any) -> list[str] | None:
    names = feature.get("names") if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" else None
    return [str(name) for name in names] if isinstance(names, list) else None


def _text(value: Any, names: list[str] | None) -> str | None:
    if value is None or value != value:
        return None
    if names is None:
        return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    if value == -1:  # the hub's sign for a hidden label
        return None
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else str(value)


def _label_column(schema: pa.Schema, images: str, location: str, options: SourceOptions) -> str | None:
    if options.label_column in schema.names:
        return options.label_column
    if options.label_column != _DEFAULTS.label_column:
        raise DatapropsError(
            f"{redacted(location)} has no column {options.label_column!r} (it has {', '.join(schema.names)}): name it with"
            " --label-column"
        )
    classes = [name for name, feature in _features(schema).items() if _class_names(feature) and name in schema.names]
    if len(classes) > 1:
        raise DatapropsError(
            f"{redacted(location)} has several columns of classes ({', '.join(classes)}): choose one with --label-column"
        )
    return classes[0] if classes else None


def _located(location: str, key: str) -> tuple[str, int]:
    """The shard that a key lies in, and its row."""
    found = re.fullmatch(r"(.*\.parquet)/(\d+)", key, re.IGNORECASE | re.DOTALL)
    if not found:
        raise OSError(errno.ENOENT, "there is no such row")
    plain = location.partition("?")[0]
    single = plain.lower().endswith(SUFFIX) and "{" not in plain and not filesystems.is_folder(location)
    base = filesystems.parent(location) if single or "{" in plain else location
    return (location if single else filesystems.joined(base, found[1])), int(found[2])


def read(location: str, key: str, options: SourceOptions) -> bytes:
    """The bytes of one row's image."""
    place, row = _located(location, key)
    access = access_of(options)
    try:
        shard = _shards.get((filesystems.identity(place, access), options.rules), lambda: _open(place, options))
    except DatapropsError as error:
        raise OSError(errno.EIO, str(error)) from None
    if row >= shard.first[-1]:
        raise OSError(errno.ENOENT, "there is no such row")
    number = next(i for i in range(len(shard.first) - 1) if row < shard.first[i + 1])
    column = _groups.get(
        (filesystems.identity(place, access), shard.column, number), lambda: _read_group(place, shard, number, access)
    )
    found = column[row - shard.first[number]]
    # not the whole struct: its path may be no text
    value = found["bytes"].as_py() if isinstance(found, pa.StructScalar) and found.is_valid else found.as_py()
    if not isinstance(value, bytes):
        raise OSError(errno.ENODATA, "the row holds no image")
    return value


# metadata alone is shared by threads; each row group is read by a file of its own
_shards: Kept[Shard] = Kept(64)


def _read_group(place: str, shard: Shard, number: int, access: Access) -> pa.ChunkedArray:
    try:
        file = pq.ParquetFile(open_reader(place, access).file(BUFFER), metadata=shard.file.metadata)
        return file.read_row_group(number, [shard.column]).column(shard.column)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise OSError(errno.EIO, f"the Parquet file is damaged: {reason}") from None


def stamps(location: str, keys: list[str], options: SourceOptions) -> list[int]:
    """A number for each image that changes when its shard does."""
    parts = [_located(location, key)[0] for key in keys]
    each = sorted(set(parts))
    known = dict(zip(each, filesystems.stamps(each, access_of(options)), strict=True))
    return [known[place] for place in parts]
