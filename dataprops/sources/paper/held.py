"""Arrays that a process keeps between reads: a file of many images is opened once, not for each of them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")
LIMIT = 512 * 2**20  # bytes in each process
LEAST = 1024  # what a reason counts


class Held(Generic[T]):
    """Values of files, the least recently used given up; safe in threads. A file that changed is loaded anew.

    Failures are kept too: ten thousand images of a damaged file ask once.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._values: OrderedDict[tuple, tuple[T | OSError, int]] = OrderedDict()
        self._loading: dict[tuple, threading.Lock] = {}

    def get(self, file: Path, load: Callable[[Path], tuple[T, int]]) -> T:
        """The value of a file.

        Parameters
        ----------
        load : callable
            load(file) -> value, bytes it takes. Raises OSError with the reason if it cannot.

        Raises
        ------
        OSError
            What `load` raised.
        """
        stat = file.stat()
        key = (str(file), stat.st_size, stat.st_mtime_ns)
        with self._lock:
            mine = self._loading.setdefault(key, threading.Lock())
        with mine:  # one thread loads, the others wait for it
            with self._lock:
                if key in self._values:
                    self._values.move_to_end(key)
                    return _given(self._values[key][0])
            try:
                entry = load(file)
            except OSError as error:
                entry = error.with_traceback(None), LEAST
            with self._lock:
                self._values[key] = entry
                self._loading.pop(key, None)
                while len(self._values) > 1 and sum(size for _, size in self._values.values()) > self._limit:
                    self._values.popitem(last=False)
            return _given(entry[0])


def _given(value: T | OSError) -> T:
    if isinstance(value, OSError):
        raise OSError(*value.args)  # a new one: tracebacks of threads must not pile up on it
    return value
