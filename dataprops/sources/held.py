"""What was read last and is asked for again soon: large files that many images are cut from."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Held(Generic[T]):
    """Values by key, the least recently used dropped when they exceed a size; safe for threads.

    What several threads ask for at once is read once; an error is not kept.

    Parameters
    ----------
    limit : int
        Bytes in all; the newest value is kept in any case.
    size : callable
        size(value) -> bytes.
    """

    def __init__(self, limit: int, size: Callable[[T], int]) -> None:
        self._limit, self._size = limit, size
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, T] = OrderedDict()
        self._gates: dict[Hashable, threading.Lock] = {}

    def get(self, key: Hashable, read: Callable[[], T]) -> T:
        """The value of a key; `read` gives it where it is not held."""
        with self._lock:
            gate = self._gates.setdefault(key, threading.Lock())
        with gate:
            with self._lock:
                if key in self._values:
                    self._values.move_to_end(key)
                    return self._values[key]
            try:
                value = read()
            finally:
                with self._lock:
                    self._gates.pop(key, None)
            with self._lock:
                self._values[key] = value
                while len(self._values) > 1 and sum(map(self._size, self._values.values())) > self._limit:
                    self._values.popitem(last=False)
        return value
