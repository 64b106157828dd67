"""Parquet files, read without trusting what they declare: rows, and the size of decoded strings."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dataprops.util.budget import need

LEAST_ROWS, ROWS_PER_BYTE = 10**6, 64  # limit on rows: a Parquet header may declare any number
AT_ONCE, LEAST_AT_ONCE = 16 * 2**20, 16  # batch size, bytes and rows, for columns of undeclared text size


def open_parquet(source: Any, size: int, metadata: pq.FileMetaData | None = None) -> pq.ParquetFile:
    """Open a Parquet file with string and binary columns kept dictionary-encoded: a kilobyte may decode to gigabytes.

    Arrow cannot do so for columns of `_by_differences`; `read_group` limits their memory.

    Raises
    ------
    ValueError
        If it declares more rows than a file of its size can hold.
    """
    told: Any = metadata or pq.read_metadata(source)
    source.seek(0)
    rows, most = told.num_rows, max(LEAST_ROWS, ROWS_PER_BYTE * size)
    if not 0 <= rows <= most:
        raise ValueError(f"it declares {rows:,} rows in {size:,} bytes")
    leaves = (told.schema.column(number) for number in range(len(told.schema)))
    others = _by_differences(told)
    texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY" and leaf.path not in others]
    return pq.ParquetFile(source, metadata=told, read_dictionary=texts)


def whole_parquet(file: pq.ParquetFile, columns: list[str] | None = None) -> pa.Table:
    """Columns of all row groups, each with its own dictionaries: Arrow cannot unify those of structs and lists."""
    groups = [read_group(file, number, columns) for number in range(file.num_row_groups)]
    return pa.concat_tables(groups) if groups else file.read(columns)


def _by_differences(told: pq.FileMetaData) -> set[str]:
    """String columns with delta encoding in any row group."""
    return {
        chunk.path_in_schema
        for number in range(told.num_row_groups)
        for chunk in (told.row_group(number).column(at) for at in range(told.num_columns))
        if chunk.physical_type == "BYTE_ARRAY" and any("DELTA" in encoding for encoding in chunk.encodings)
    }


def read_group(file: pq.ParquetFile, number: int, columns: list[str] | None = None) -> pa.Table:
    """Read columns of one row group.

    The decoded size of delta-encoded strings (`_by_differences`) is unknown before reading. A value is at most as long as its stored
    column, so batches are sized to fit `AT_ONCE` in this worst case, and memory is counted batch by batch.

    Raises
    ------
    OverBudget
        If they exceed the memory budget.
    """
    group = file.metadata.row_group(number)
    wanted = None if columns is None else {name.partition(".")[0] for name in columns}
    others = _by_differences(file.metadata)
    chunks = [group.column(at) for at in range(group.num_columns)]
    watched = [
        chunk.total_uncompressed_size
        for chunk in chunks
        if chunk.path_in_schema in others and (wanted is None or chunk.path_in_schema.split(".")[0] in wanted)
    ]
    if not watched or not group.num_rows:
        return file.read_row_group(number, columns)
    rows, batches, held = max(LEAST_AT_ONCE, AT_ONCE // max(1, *watched)), [], 0
    for batch in file.iter_batches(rows, [number], columns):
        held += batch.nbytes
        need(held)
        batches.append(batch)
    return pa.Table.from_batches(batches)
