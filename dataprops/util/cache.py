"""Thread-safe LRU caches bounded by weight, for large files that contain many images."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Generic, TypeVar

Value = TypeVar("Value")
FILES_LIMIT = 512 * 2**20  # bytes of loaded files per process
LEAST = 1024  # weight of a cached error, bytes


class Cache(Generic[Value]):
    """Values computed on demand, each only once, however many threads request it.

    Parameters
    ----------
    limit : int
        Maximum total weight; a single value is kept whatever its weight.
    weigh : callable
        Weight of a value; default: 1.

    >>> cache = Cache(2)
    >>> [cache.get(key, lambda: key * 2) for key in (1, 2, 1, 3)], sorted(cache.values)
    ([2, 4, 2, 6], [1, 3])
    """

    def __init__(self, limit: int, weigh: Callable[[Value], int] = lambda value: 1) -> None:
        self.limit, self.weigh = limit, weigh
        self.values: OrderedDict[Hashable, Value] = OrderedDict()
        self.weight = 0
        self._lock = threading.Lock()
        self._making: dict[Hashable, threading.Lock] = {}

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of a key, computed by `make` if missing; an exception of `make` propagates and nothing is stored."""
        with self._lock:
            if key in self.values:
                self.values.move_to_end(key)
                return self.values[key]
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self.values:
                    self.values.move_to_end(key)
                    return self.values[key]
            try:
                value = make()
                self.put(key, value)
            finally:
                with self._lock:
                    self._making.pop(key, None)
            return value

    def put(self, key: Hashable, value: Value) -> None:
        """Store a value under a key, replacing any earlier one."""
        with self._lock:
            if key in self.values:
                self.weight -= self.weigh(self.values.pop(key))
            self.values[key] = value
            self.weight += self.weigh(value)
            while self.weight > self.limit and len(self.values) > 1:
                _, old = self.values.popitem(last=False)  # readers keep their own reference
                self.weight -= self.weigh(old)


class FileCache(Generic[Value]):
    """Values loaded from files; a changed file is reloaded.

    Failures are cached too, so that a damaged file with ten thousand images is tried once.
    """

    def __init__(self, limit: int = FILES_LIMIT) -> None:
        self._cache: Cache[tuple[Value | OSError, int]] = Cache(limit, lambda entry: entry[1])

    def get(self, file: Path, load: Callable[[Path], tuple[Value, int]]) -> Value:
        """The value of a file.

        Parameters
        ----------
        load : callable
            load(file) -> value, size in bytes. Raises OSError with the reason on failure.

        Raises
        ------
        OSError
            As raised by `load`.
        """

        def entry() -> tuple[Value | OSError, int]:
            try:
                return load(file)
            except OSError as error:
                return error.with_traceback(None), LEAST

        stat = file.stat()
        value, _ = self._cache.get((str(file), stat.st_size, stat.st_mtime_ns), entry)
        if isinstance(value, OSError):
            raise OSError(*value.args)  # a new instance, so that tracebacks do not accumulate on the cached one
        return value
