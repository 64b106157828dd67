"""Pickles of arrays, lists, dictionaries, texts and numbers, and nothing else.

A pickle is a program: it names functions, calls them, and changes what they return. This reader knows four names. For each
it has a stand-in of its own, made anew for each pickle, which checks what it is given and does no more than note it down; numpy
sees plain bytes, a plain type and a shape, at the end. Every other name is refused before anything is called.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
from typing import Any, ClassVar

import numpy as np

from dataprops.util.guard import guarded, said

KINDS = frozenset("buif")  # of dtypes: numbers


def _text(value: object) -> object:
    return value.decode("latin1") if isinstance(value, bytes) else value


class _Dtype:
    """A type of numbers, and the byte order that the pickle sets."""

    __slots__ = ("name", "order")

    def __init__(self, name: str) -> None:
        self.name, self.order = name, "|"

    def __setstate__(self, state: tuple) -> None:
        order = _text(state[1])
        if order not in ("<", ">", "|") or any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError("it holds an array that is not of plain numbers")
        self.order = order


class _Array:
    """An array: made empty, filled by its state."""

    __slots__ = ("value",)

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, columns, raw = state
        if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes):
            raise pickle.UnpicklingError("it holds an array that is not of plain numbers")
        kind = np.dtype(dtype.order + dtype.name)
        if not all(isinstance(n, int) and n >= 0 for n in shape) or math.prod(shape) * kind.itemsize != len(raw):
            raise pickle.UnpicklingError(f"it holds an array of another shape in {len(raw)} bytes")
        self.value = np.frombuffer(raw, kind).reshape(shape, order="F" if columns else "C")


def _names() -> dict[tuple[str, str], Any]:
    """The names that data need, each with its stand-in."""
    ndarray = object()  # cannot be called

    def dtype(name: object, *flags: object) -> _Dtype:
        text = _text(name)
        if not isinstance(text, str) or text[:1] not in KINDS or text[1:] not in ("1", "2", "4", "8"):
            raise pickle.UnpicklingError("it holds an array that is not of plain numbers")
        return _Dtype(text)

    def array(kind: object, *shape_and_type: object) -> _Array:
        if kind is not ndarray:
            raise pickle.UnpicklingError("it holds an object that is not a plain array")
        return _Array()

    def encode(text: object, encoding: object = "latin1") -> bytes:
        if not isinstance(text, str) or _text(encoding) != "latin1":
            raise pickle.UnpicklingError("it asks for another encoding than latin1")
        return text.encode("latin1")

    return {
        ("numpy.core.multiarray", "_reconstruct"): array,
        ("numpy._core.multiarray", "_reconstruct"): array,
        ("numpy", "ndarray"): ndarray,
        ("numpy", "dtype"): dtype,
        ("_codecs", "encode"): encode,
    }


def _not_data(unpickler: object) -> None:
    raise pickle.UnpicklingError("it asks for what data do not need: nothing was run")


def _plain_keys(stack: list, keys: slice) -> None:
    """Refuse keys that are not texts or numbers: tuples within tuples may take years to hash."""
    for key in stack[keys]:
        if not isinstance(key, str | bytes | int):
            raise pickle.UnpicklingError(f"it holds a dictionary with a {type(key).__name__} as key")


# of Python's own reader, which keeps its memory in a dictionary: the faster one makes room for the number that a file names
_Reader = pickle._Unpickler  # pyright: ignore[reportAttributeAccessIssue]
REFUSED = (
    *(
        pickle.BYTEARRAY8,
        pickle.EMPTY_SET,
        pickle.FROZENSET,
        pickle.ADDITEMS,
        pickle.DUP,
        pickle.NEWOBJ,
        pickle.NEWOBJ_EX,
    ),
    *(pickle.INST, pickle.OBJ, pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.PERSID, pickle.BINPERSID),
    *(pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
)


class _Arrays(_Reader):
    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="bytes")
        self._known = _names()

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._known[module, name]
        except KeyError:
            reason = f"it asks for {module}.{name}, which data do not need: nothing was run"
            raise pickle.UnpicklingError(reason) from None

    def load(self) -> Any:
        try:
            return super().load()
        except (KeyError, IndexError, struct.error):  # a code, a place or bytes that there are not
            raise pickle.UnpicklingError("it is damaged") from None

    def _one_item(self) -> None:
        _plain_keys(self.stack, slice(-2, -1))
        _Reader.load_setitem(self)

    def _items(self) -> None:
        _plain_keys(self.stack, slice(None, None, 2))
        _Reader.load_setitems(self)

    def _dictionary(self) -> None:
        _plain_keys(self.stack, slice(None, None, 2))
        _Reader.load_dict(self)

    dispatch: ClassVar[dict[int, Any]] = _Reader.dispatch | {code[0]: _not_data for code in REFUSED}
    dispatch |= {pickle.SETITEM[0]: _one_item, pickle.SETITEMS[0]: _items, pickle.DICT[0]: _dictionary}


def load_arrays(data: bytes) -> dict[str, Any]:
    """The dictionary that a pickle holds: its keys as text, its arrays as arrays; other texts of Python 2 come as bytes.

    Raises
    ------
    ValueError
        If it is damaged, no dictionary, or asks for anything but arrays, lists, dictionaries, texts and numbers.
    """
    with guarded(lambda error: ValueError(f"the pickle cannot be read: {said(error)}")):
        held = _Arrays(data).load()
        if not isinstance(held, dict):
            raise pickle.UnpicklingError("it holds no dictionary")
        return {str(_text(key)): value.value if isinstance(value, _Array) else value for key, value in held.items()}
