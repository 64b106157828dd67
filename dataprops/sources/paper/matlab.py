"""Arrays of whole numbers in MATLAB 5 files, read with every length checked before it is believed.

A file is a header of 128 bytes and its variables, each deflated or not. A variable is a matrix: flags (its class), shape, name and
values, each with its type and length. Nothing but real arrays of whole numbers is read. scipy reads more, and ends the process on some
damaged files: told a wrong length, it reads beyond the end.

References
----------
.. [1] MathWorks, MAT-File Format, version 5.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from dataprops.util import budget

HEADER = 128
MATRIX, DEFLATED = 14, 15  # types of variables
TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 12: "i8", 13: "u8"}  # of values
CLASSES = {8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}  # of arrays
COMPLEX = 0x800
MOST_AXES, LONGEST_NAME = 32, 63
PIECE = 2**20


class Damaged(ValueError):
    """Why a file cannot be read."""


class Variable(NamedTuple):
    """A variable's name, its class as a dtype ("" for one that is not of whole numbers) and shape, and what follows."""

    name: str
    kind: str
    shape: tuple[int, ...]
    values: _Bytes
    order: str


class _Bytes:
    """What is left of a variable: `count` bytes of a file, inflated on the way if they are deflated."""

    def __init__(self, data: IO[bytes], count: int, most: int, *, deflated: bool) -> None:
        self._data, self._left, self._most = data, count, most
        self._inflate = zlib.decompressobj() if deflated else None
        self._taken = 0

    def take(self, count: int) -> bytes:
        """The next bytes, all of them."""
        self._taken += count
        if self._taken > self._most:
            raise Damaged(f"promises {self._taken:,} bytes, more than such a file should have ({self._most:,})")
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


def _element(data: _Bytes, order: str, most: int) -> tuple[int, bytes]:
    """Type and content of the next element; short ones lie within their own tag."""
    head = data.take(8)
    kind, count = struct.unpack(f"{order}II", head)
    if kind >> 16:
        count, kind = kind >> 16, kind & 0xFFFF
        if count > 4:
            raise Damaged("is damaged: a short element of more than 4 bytes")
        return kind, head[4 : 4 + count]
    if count > most:
        raise Damaged(f"is damaged: a header of {count:,} bytes")
    content = data.take(count)
    data.take(-count % 8)
    return kind, content


def variables(file: Path, most: int) -> Iterator[Variable]:
    """The variables of a file, in turn; the values of one are there until the next is asked for.

    Parameters
    ----------
    file : Path
    most : int
        Bytes that a variable may have, inflated.

    Raises
    ------
    Damaged
        If it is no such file, or is damaged.
    OverBudget
        If a variable takes more memory than is allowed.
    """
    size = file.stat().st_size
    with file.open("rb") as data:
        mark = data.read(HEADER)[124:]
        order = {b"IM": "<", b"MI": ">"}.get(mark[2:])
        if order is None or struct.unpack(f"{order}H", mark[:2])[0] != 0x100:
            raise Damaged("cannot be read: it is not a MATLAB 5 file")
        at = HEADER
        while at + 8 <= size:
            data.seek(at)
            kind, count = struct.unpack(f"{order}II", data.read(8))
            at += 8 + count
            if kind in (MATRIX, DEFLATED):
                yield _variable(_Bytes(data, count, most, deflated=kind == DEFLATED), order, deflated=kind == DEFLATED)


def _variable(data: _Bytes, order: str, *, deflated: bool) -> Variable:
    if deflated and struct.unpack(f"{order}II", data.take(8))[0] != MATRIX:
        raise Damaged("is damaged: a variable that is no array")
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
    """The values of a variable of whole numbers, in MATLAB's order of axes (the first is the fastest).

    Raises
    ------
    Damaged
        If they are not there.
    """
    head = variable.values.take(8)
    kind, count = struct.unpack(f"{variable.order}II", head)
    short = kind >> 16
    if short:
        count, kind = short, kind & 0xFFFF
    if kind not in TYPES:
        raise Damaged("is damaged: values of an unknown type")
    dtype = np.dtype(variable.order + TYPES[kind])
    if count != math.prod(variable.shape) * dtype.itemsize or short > 4:
        raise Damaged(f"is damaged: {count:,} bytes for an array of shape {list(variable.shape)}")
    content = head[4 : 4 + count] if short else variable.values.take(count)
    values = np.frombuffer(content, dtype).astype(variable.kind, copy=False)
    return values.reshape(variable.shape, order="F")
