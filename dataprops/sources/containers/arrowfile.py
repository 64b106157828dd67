"""Arrow files and streams, read batch by batch, each validated before use.

Arrow trusts the lengths in a file: a corrupt one makes it read out of bounds and crashes the process. Nor is the file
memory-mapped: truncating it meanwhile would crash the process too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pyarrow as pa

from dataprops.sources.remote.connections import Access
from dataprops.sources.remote.readers import open_reader

BUFFER = 2**20


class ArrowFile(NamedTuple):
    """An Arrow file: location, schema, and the offset of each batch (in a stream; -1: a file, which has its own index)."""

    location: str
    access: Access
    schema: pa.Schema
    places: tuple[int, ...]
    first: list[int]

    def batch(self, number: int) -> pa.RecordBatch:
        """One batch, by number."""
        with self.opened() as source:
            if self.places[number] < 0:
                return checked(pa.ipc.open_file(source).get_batch(number))
            source.seek(self.places[number])
            return checked(pa.ipc.read_record_batch(pa.ipc.read_message(source), self.schema))

    def read(self, columns: list[str]) -> pa.Table:
        """Read columns of all batches."""
        with self.opened() as source:
            batches = [batch.select(columns) for _, batch in _batches(source)]
        kept = pa.schema([self.schema.field(name) for name in columns])
        return pa.Table.from_batches(batches, kept)

    def opened(self) -> pa.PythonFile:
        """The open file; the caller closes it."""
        return pa.PythonFile(open_reader(self.location, self.access).file(BUFFER))


def open_arrow(location: str, access: Access) -> ArrowFile:
    """Open and index an Arrow file.

    Raises
    ------
    OSError, ValueError
        If it is unreadable, not Arrow, corrupt, or a stream with dictionaries (whose batches cannot be read independently).
    """
    with pa.PythonFile(open_reader(location, access).file(BUFFER)) as source:
        places, first, schema = [], [0], None
        for place, batch in _batches(source):
            places.append(place)
            first.append(first[-1] + batch.num_rows)
            schema = batch.schema
        if schema is None:
            source.seek(0)
            schema = _opened(source)[1].schema
    if any(pa.types.is_dictionary(kind) for kind in schema.types) and any(place >= 0 for place in places):
        raise ValueError("columns with dictionaries in a stream are not supported: write it as Parquet")
    return ArrowFile(location, access, schema, tuple(places), first)


def _opened(source: pa.PythonFile) -> tuple[bool, pa.RecordBatchReader | pa.ipc.RecordBatchFileReader]:
    """Whether it is a stream, and the reader."""
    try:
        return True, pa.ipc.open_stream(source)
    except pa.ArrowInvalid:
        source.seek(0)
        return False, pa.ipc.open_file(source)


def _batches(source: pa.PythonFile) -> Iterator[tuple[int, pa.RecordBatch]]:
    is_stream, reader = _opened(source)
    if not is_stream:
        for number in range(reader.num_record_batches):
            yield -1, checked(reader.get_batch(number))
        return
    while True:
        place = source.tell()
        try:
            batch = reader.read_next_batch()
        except StopIteration:
            return
        yield place, checked(batch)


def checked(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Validate a batch: lengths must match its buffers; strings need not be UTF-8.

    Raises
    ------
    pyarrow.ArrowInvalid
        If it is corrupt.
    """
    for column in batch.columns:
        _check(column)
    return batch


def _check(column: pa.Array) -> None:
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):  # their encoding is checked later
        column = column.view(pa.binary() if pa.types.is_string(kind) else pa.large_binary())
    if pa.types.is_struct(kind):
        column.validate()
        for number in range(kind.num_fields):
            _check(column.field(number))
    else:
        column.validate(full=True)
