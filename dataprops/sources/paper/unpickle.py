"""Pickles of arrays, lists, dictionaries, texts and numbers, and nothing else.

A pickle is a program: it names functions and calls them. This reader knows four names, and gives for each a function
of its own that can make a numeric array or a text; every other name is refused before anything is called.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

_NDARRAY = "numpy.ndarray"  # stands for the class: cannot be called
NUMBERS = frozenset("buif")  # kinds of dtypes


def _dtype(name: object, *flags: object) -> np.dtype:
    text = name.decode("latin1") if isinstance(name, bytes) else name
    if not isinstance(text, str) or text[:1] not in NUMBERS or not text[1:].isdigit():
        raise pickle.UnpicklingError(f"it holds an array of {name!r}, not of numbers")
    return np.dtype(text, False, True)  # a copy: the pickle sets the byte order of its own


def _array(kind: object, shape: object, dtype: object) -> np.ndarray:
    if kind is not _NDARRAY or shape not in ((0,), (np.int64(0),)):
        raise pickle.UnpicklingError("it holds an object that is no plain array")
    return np.ndarray((0,), "b")


def _encode(text: object, encoding: object = "latin1") -> bytes:
    name = encoding.decode("latin1") if isinstance(encoding, bytes) else encoding
    if not isinstance(text, str) or name != "latin1":
        raise pickle.UnpicklingError(f"it asks for the encoding {encoding!r}")
    return text.encode("latin1")


ALLOWED: dict[tuple[str, str], Callable[..., Any] | str] = {
    ("numpy.core.multiarray", "_reconstruct"): _array,
    ("numpy._core.multiarray", "_reconstruct"): _array,
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _encode,
}


class _Arrays(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which data do not need: nothing was run"
            ) from None


# what a damaged pickle raises, depending on where it is damaged
DAMAGES = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    MemoryError,
    ImportError,
    RecursionError,
)


def load_arrays(data: bytes) -> Any:
    """What a pickle holds; texts of Python 2 come as bytes.

    Raises
    ------
    ValueError
        If it is damaged, or asks for anything but arrays, lists, dictionaries, texts and numbers.
    """
    try:
        return _Arrays(io.BytesIO(data), encoding="bytes").load()
    except DAMAGES as error:
        raise ValueError(f"the pickle cannot be read: {error or type(error).__name__}") from None
