"""What a process keeps of opened containers: safe for threads, bounded by weight, the least recently used goes first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """Values made on demand; each is made once, however many threads ask for it.

    Parameters
    ----------
    limit : int
        Weight of all that is kept; one value is kept whatever it weighs.
    weigh : callable
        Weight of a value; default: 1.

    >>> kept = Kept(2)
    >>> [kept.get(key, lambda: key * 2) for key in (1, 2, 1, 3)], sorted(kept.values)
    ([2, 4, 2, 6], [1, 3])
    """

    def __init__(self, limit: int, weigh: Callable[[Value], int] = lambda value: 1) -> None:
        self.limit, self.weigh = limit, weigh
        self.values: OrderedDict[Hashable, Value] = OrderedDict()
        self.weight = 0
        self._lock = threading.Lock()
        self._making: dict[Hashable, threading.Lock] = {}

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of a key; what `make` raises is raised, and nothing is kept."""
        with self._lock:
            if key in self.values:
                self.values.move_to_end(key)
                return self.values[key]
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self.values:
                    return self.values[key]
            try:
                value = make()
            finally:
                with self._lock:
                    self._making.pop(key, None)
            self.put(key, value)
            return value

    def put(self, key: Hashable, value: Value) -> None:
        """Keep a value in the place of what the key had."""
        with self._lock:
            if key in self.values:
                self.weight -= self.weigh(self.values.pop(key))
            self.values[key] = value
            self.weight += self.weigh(value)
            while self.weight > self.limit and len(self.values) > 1:
                _, old = self.values.popitem(last=False)  # a thread that reads it holds it still
                self.weight -= self.weigh(old)
