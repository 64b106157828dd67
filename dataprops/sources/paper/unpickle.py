"""Safe unpickler for arrays, lists, dicts, strings and numbers only.

A pickle is a program: it names functions, calls them, and modifies their results. This reader accepts four names. Each is
replaced by a stand-in, created per pickle, that only validates and records its arguments; numpy receives just bytes, a numeric
dtype and a shape. Any other name is rejected before anything is called.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
from typing import Any, ClassVar

import numpy as np

from dataprops.util.guard import guarded, said

KINDS = frozenset("buif")  # numeric dtype kinds


def _text(value: object) -> object:
    return value.decode("latin1") if isinstance(value, bytes) else value


class _Dtype:
    """Stand-in for a numeric dtype, with the byte order set by the pickle."""

    __slots__ = ("name", "order")

    def __init__(self, name: str) -> None:
        self.name, self.order = name, "|"

    def __setstate__(self, state: tuple) -> None:
        order = _text(state[1])
        if order not in ("<", ">", "|") or any(part is not None for part in state[2:5]):
            raise pickle.UnpicklingError("it holds an array of something other than plain numbers")
        self.order = order


class _Array:
    """Stand-in for an array: created empty, filled by its state."""

    __slots__ = ("value",)

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, columns, raw = state
        if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes):
            raise pickle.UnpicklingError("it holds an array of something other than plain numbers")
        kind = np.dtype(dtype.order + dtype.name)
        if not all(isinstance(n, int) and n >= 0 for n in shape) or math.prod(shape) * kind.itemsize != len(raw):
            raise pickle.UnpicklingError(f"it holds an array of another shape in {len(raw)} bytes")
        self.value = np.frombuffer(raw, kind).reshape(shape, order="F" if columns else "C")


def _names() -> dict[tuple[str, str], Any]:
    """The accepted names with their stand-ins."""
    ndarray = object()  # not callable

    def dtype(name: object, *flags: object) -> _Dtype:
        text = _text(name)
        if not isinstance(text, str) or text[:1] not in KINDS or text[1:] not in ("1", "2", "4", "8"):
            raise pickle.UnpicklingError("it holds an array of something other than plain numbers")
        return _Dtype(text)

    def array(kind: object, *shape_and_type: object) -> _Array:
        if kind is not ndarray:
            raise pickle.UnpicklingError("it holds an object that is not a plain array")
        return _Array()

    def encode(text: object, encoding: object = "latin1") -> bytes:
        if not isinstance(text, str) or _text(encoding) != "latin1":
            raise pickle.UnpicklingError("its encoding is not latin1")
        return text.encode("latin1")

    return {
        ("numpy.core.multiarray", "_reconstruct"): array,
        ("numpy._core.multiarray", "_reconstruct"): array,
        ("numpy", "ndarray"): ndarray,
        ("numpy", "dtype"): dtype,
        ("_codecs", "encode"): encode,
    }


def _not_data(unpickler: object) -> None:
    raise pickle.UnpicklingError("it contains instructions that plain data do not need: nothing was run")


def _plain_keys(stack: list, keys: slice) -> None:
    """Reject keys other than strings and numbers: hashing nested tuples can take years."""
    for key in stack[keys]:
        if not isinstance(key, str | bytes | int):
            raise pickle.UnpicklingError(f"it holds a dictionary with a {type(key).__name__} as key")


# the pure-Python unpickler, whose memo is a dict: the C one allocates memory for any memo index in the file
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
            reason = f"it asks for {module}.{name}, which plain data do not need: nothing was run"
            raise pickle.UnpicklingError(reason) from None

    def load(self) -> Any:
        try:
            return super().load()
        except (KeyError, IndexError, struct.error):  # unknown opcode, missing memo entry, or missing bytes
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
    """The dict in a pickle: keys as str, arrays as ndarrays; Python 2 strings in values are returned as bytes.

    Raises
    ------
    ValueError
        If it is corrupt, not a dict, or contains anything but arrays, lists, dicts, strings and numbers.
    """
    with guarded(lambda error: ValueError(f"the pickle cannot be read: {said(error)}")):
        held = _Arrays(data).load()
        if not isinstance(held, dict):
            raise pickle.UnpicklingError("it holds no dictionary")
        return {str(_text(key)): value.value if isinstance(value, _Array) else value for key, value in held.items()}
