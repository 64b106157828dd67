"""Reader of MATLAB 5 files that validates every length.

A file is a 128-byte header and its variables, each optionally deflated. A variable is a matrix: flags (its class), shape, name and
values, each with type and length; cells and structs contain matrices. `variables` and `array` read large integer arrays, `load`
reads a small file whole: numbers, strings, cells and structs. scipy supports more, but crashes on some corrupt files: a wrong
length makes it read out of bounds.

References
----------
.. [1] MathWorks, MAT-File Format, version 5.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from dataprops.util import budget

HEADER = 128
SUFFIX = ".mat"
LARGEST_TABLE = 2**28  # bytes of a variable of a table, uncompressed
MATRIX, DEFLATED = 14, 15  # data types of top-level elements
TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 12: "i8", 13: "u8"}  # data types of integer values
CLASSES = {8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}  # classes of integer arrays
REALS = {7: "f4", 9: "f8"}  # data types of real values
TEXTS = {1: "latin1", 2: "latin1", 4: "utf-16", 16: "utf-8", 17: "utf-16"}  # data types of characters
CELL, STRUCT, TEXT = 1, 2, 4  # other array classes
NUMBERS = {6: "f8", 7: "f4", **CLASSES}
DEEPEST = 8  # maximum nesting of cells and structs
COMPLEX = 0x800
MOST_AXES, LONGEST_NAME = 32, 63
PIECE = 2**20


class Damaged(ValueError):
    """The file is not valid; the message says why."""


class Variable(NamedTuple):
    """A variable's name, dtype ("" unless integer) and shape, and its remaining bytes."""

    name: str
    kind: str
    shape: tuple[int, ...]
    values: _Bytes
    order: str


class _Bytes:
    """The remaining bytes of a variable, `count` bytes of the file, inflated on the fly if deflated."""

    def __init__(self, data: IO[bytes], count: int, most: int, *, deflated: bool) -> None:
        self._data, self._left, self._most = data, count, most
        self._inflate = zlib.decompressobj() if deflated else None
        self._taken = 0

    def take(self, count: int) -> bytes:
        """Exactly the next `count` bytes."""
        self._taken += count
        if self._taken > self._most:
            raise Damaged(f"declares {self._taken:,} bytes, more than such a file should have ({self._most:,})")
        budget.need(2 * count)
        parts, missing = [], count
        while missing and (part := self._next(missing)):
            parts.append(part)
            missing -= len(part)
        if missing:
            raise Damaged("is truncated")
        return b"".join(parts)

    def _next(self, most: int) -> bytes:
        if self._inflate is None:
            part = self._data.read(min(most, self._left, PIECE))
            self._left -= len(part)
            return part
        while not self._inflate.eof:
            packed = self._inflate.unconsumed_tail
            if not packed:
                packed = self._data.read(min(self._left, PIECE))
                self._left -= len(packed)
            try:
                part = self._inflate.decompress(packed, min(most, PIECE))
            except zlib.error as error:
                raise Damaged(f"is damaged: {error}") from None
            if part or not packed:
                return part
        return b""


def _tag(head: bytes | memoryview, order: str) -> tuple[int, int, bool]:
    """Type and size of an element from its first 8 bytes, and whether its content is in the last 4 of them."""
    kind, count = struct.unpack(f"{order}II", head)
    return (kind & 0xFFFF, kind >> 16, True) if kind >> 16 else (kind, count, False)


def _element(data: _Bytes, order: str, most: int) -> tuple[int, bytes]:
    """Type and content of the next element; short content is stored in the tag."""
    head = data.take(8)
    kind, count, short = _tag(head, order)
    if short:
        if count > 4:
            raise Damaged("is damaged: a short element of more than 4 bytes")
        return kind, head[4 : 4 + count]
    if count > most:
        raise Damaged(f"is damaged: a header of {count:,} bytes")
    content = data.take(count)
    data.take(-count % 8)
    return kind, content


def variables(file: Path, most: int) -> Iterator[Variable]:
    """Iterate over the variables of a file; the values of each are available until the next is requested.

    Parameters
    ----------
    file : Path
    most : int
        Maximum size of a variable, bytes uncompressed.

    Raises
    ------
    Damaged
        If it is not a MATLAB 5 file, or is corrupt.
    OverBudget
        If a variable exceeds the memory budget.
    """
    with file.open("rb") as data:
        for kind, _, held, order in _held(data, file.stat().st_size, most):
            if kind in (MATRIX, DEFLATED):
                yield _variable(held, order, deflated=kind == DEFLATED)


def _held(data: IO[bytes], size: int, most: int) -> Iterator[tuple[int, int, _Bytes, str]]:
    """Elements of a file of `size` bytes, in order: type, size, content and byte order."""
    mark = data.read(HEADER)[124:]
    order = {b"IM": "<", b"MI": ">"}.get(mark[2:])
    if order is None or struct.unpack(f"{order}H", mark[:2])[0] != 0x100:
        raise Damaged("cannot be read: it is not a MATLAB 5 file")
    at = HEADER
    while at + 8 <= size:
        data.seek(at)
        kind, count = struct.unpack(f"{order}II", data.read(8))
        at += 8 + count
        yield kind, count, _Bytes(data, count, most, deflated=kind == DEFLATED), order


def _variable(data: _Bytes, order: str, *, deflated: bool) -> Variable:
    if deflated and struct.unpack(f"{order}II", data.take(8))[0] != MATRIX:
        raise Damaged("is damaged: a variable that is not an array")
    _, flags = _element(data, order, 8)
    if len(flags) != 8:
        raise Damaged("is damaged: an array without a class")
    (word,) = struct.unpack(f"{order}I", flags[:4])
    kind = "" if word & COMPLEX else CLASSES.get(word & 0xFF, "")
    coded, axes = _element(data, order, 4 * MOST_AXES)
    if coded != 5 or len(axes) % 4 or len(axes) < 8:
        raise Damaged("is damaged: an array without a shape")
    shape = tuple(struct.unpack(f"{order}{len(axes) // 4}i", axes))
    if min(shape) < 0:
        raise Damaged(f"is damaged: an array of shape {list(shape)}")
    _, name = _element(data, order, LONGEST_NAME)
    return Variable(name.decode("latin1"), kind, shape, data, order)


def array(variable: Variable) -> np.ndarray:
    """Values of an integer variable, in MATLAB's axis order (the first axis varies fastest).

    Raises
    ------
    Damaged
        If the values are missing.
    """
    head = variable.values.take(8)
    kind, count, short = _tag(head, variable.order)
    if kind not in TYPES:
        raise Damaged("is damaged: values of an unknown type")
    dtype = np.dtype(variable.order + TYPES[kind])
    if count != math.prod(variable.shape) * dtype.itemsize or (short and count > 4):
        raise Damaged(f"is damaged: {count:,} bytes for an array of shape {list(variable.shape)}")
    content = head[4 : 4 + count] if short else variable.values.take(count)
    values = np.frombuffer(content, dtype).astype(variable.kind, copy=False)
    return values.reshape(variable.shape, order="F")


Value = np.ndarray | str | list[Any] | dict[str, list[Any]] | None


def load(data: bytes, most: int) -> dict[str, Value]:
    """All variables of a file by name: a numeric array, a string, a list of a cell's values, or a dict of a struct's fields, each a
    list with one value per struct of the array. None: unsupported class.

    Parameters
    ----------
    most : int
        Maximum size of a variable, bytes uncompressed.

    Raises
    ------
    Damaged
        If it is not a MATLAB 5 file, or is corrupt.
    OverBudget
        If a variable exceeds the memory budget.

    >>> scipy_io = __import__("scipy.io").io
    >>> scipy_io.savemat(file := io.BytesIO(), {"a": {"name": "x"}, "b": [[1.0, 2.0]]})
    >>> load(file.getvalue(), 10**6)
    {'a': {'name': ['x']}, 'b': array([[1., 2.]])}
    """
    found: dict[str, Value] = {}
    for kind, count, held, order in _held(io.BytesIO(data), len(data), most):
        if kind == DEFLATED:
            kind, count = struct.unpack(f"{order}II", held.take(8))
        if kind == MATRIX:
            name, value = _matrix(_Elements(held.take(count), order), DEEPEST)
            found[name] = value
    return found


class _Elements:
    """Iterates over the elements of a matrix in memory."""

    def __init__(self, data: bytes | memoryview, order: str) -> None:
        self.data, self.order, self.at = memoryview(data), order, 0

    def next(self) -> tuple[int, memoryview]:
        """Type and content of the next element."""
        if self.at + 8 > len(self.data):
            raise Damaged("is truncated")
        kind, count, short = _tag(self.data[self.at : self.at + 8], self.order)
        first = self.at + (4 if short else 8)
        self.at = self.at + 8 if short else first + count + (-count % 8 if kind != DEFLATED else 0)
        if first + count > len(self.data) or (short and count > 4):
            raise Damaged("is truncated")
        return kind, self.data[first : first + count]

    def numbers(self) -> list[int]:
        """The next element, as 4-byte integers."""
        _, content = self.next()
        return list(struct.unpack(f"{self.order}{len(content) // 4}i", content[: len(content) // 4 * 4]))


def _matrix(elements: _Elements, deepest: int) -> tuple[str, Value]:
    """Name and value of a matrix."""
    if not elements.data:
        return "", np.zeros((0, 0))
    flags = elements.numbers()
    shape = elements.numbers()
    if not flags or len(shape) < 2 or min(shape) < 0 or len(shape) > MOST_AXES:
        raise Damaged("is damaged: an array without a class or a shape")
    name = bytes(elements.next()[1]).decode("latin1")
    kind, count = flags[0] & 0xFF, math.prod(shape)
    if kind in (CELL, STRUCT) and deepest > 0 and count <= len(elements.data):
        if kind == CELL:
            return name, [_inner(elements, deepest) for _ in range(count)]
        (length, *_) = elements.numbers() or [0]
        names = bytes(elements.next()[1])
        fields = [names[n : n + length].split(b"\0")[0].decode("latin1") for n in range(0, len(names), max(1, length))]
        found: dict[str, list[Any]] = {field: [] for field in fields}
        for _ in range(count if fields else 0):
            for field in fields:
                found[field].append(_inner(elements, deepest))
        return name, found
    if kind == TEXT:
        coded, content = elements.next()
        if coded not in TEXTS:
            raise Damaged("is damaged: a text of an unknown type")
        coding = f"utf-16-{'le' if elements.order == '<' else 'be'}" if TEXTS[coded] == "utf-16" else TEXTS[coded]
        return name, bytes(content).decode(coding, "replace") if shape[0] == 1 else None
    if kind not in NUMBERS or flags[0] & COMPLEX:
        return name, None
    coded, content = elements.next()
    dtype = np.dtype(elements.order + (TYPES | REALS).get(coded, "V1"))
    if dtype.kind == "V" or len(content) != count * dtype.itemsize:
        raise Damaged(f"is damaged: {len(content):,} bytes for an array of shape {shape}")
    return name, np.frombuffer(content, dtype).astype(NUMBERS[kind], copy=False).reshape(shape, order="F")


def _inner(elements: _Elements, deepest: int) -> Value:
    """The next matrix in a cell or struct."""
    kind, content = elements.next()
    if kind != MATRIX:
        raise Damaged("is damaged: a value that is not an array")
    return _matrix(_Elements(content, elements.order), deepest - 1)[1]


def columns(data: bytes, most: int) -> dict[str, list[Any]]:
    """Columns of the table in a file, at least one of them strings: the fields of a struct array or of a struct of lists, or the
    file's variables. Empty without such a table.

    Raises
    ------
    Damaged
        See `load`.
    """
    held = load(data, most)
    structs = [value for value in held.values() if isinstance(value, dict)]
    tables = [{name: [_plain(cell) for cell in cells] for name, cells in fields.items()} for fields in structs]
    tables += [{name: _listed(cells[0]) for name, cells in fields.items() if cells} for fields in structs]
    tables.append({name: _listed(value) for name, value in held.items()})
    found = [table for fields in tables if (table := _of_one_length(fields))]
    return max(found, key=lambda table: (len(next(iter(table.values()))), len(table)), default={})


def numbers(data: bytes, most: int) -> dict[str, list[int]]:
    """Integer lists of a file, by name.

    Raises
    ------
    Damaged
        See `load`.
    """
    lists = {name: _listed(value) for name, value in load(data, most).items() if isinstance(value, np.ndarray)}
    return {name: some for name, some in lists.items() if some and all(isinstance(cell, int) for cell in some)}


def _listed(value: Value) -> list[Any]:
    """Values of a vector or a cell; empty for anything else."""
    if isinstance(value, np.ndarray):
        return [_plain(cell) for cell in value.reshape(-1)] if value.size == max(value.shape) else []
    return [_plain(cell) for cell in value] if isinstance(value, list) else []


def _plain(value: Any) -> int | float | str | None:
    """A number or string, possibly wrapped in a cell; None for anything else."""
    while isinstance(value, list | np.ndarray) and len(value) == 1:
        value = value[0]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int | float | str) else None


def _of_one_length(fields: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The lists as long as the longest list of strings; empty without one."""
    texts = [len(cells) for cells in fields.values() if cells and all(isinstance(cell, str) for cell in cells)]
    most = max(texts, default=0)
    told = {
        name: cells for name, cells in fields.items() if len(cells) == most and any(cell is not None for cell in cells)
    }
    return told if most > 1 else {}
