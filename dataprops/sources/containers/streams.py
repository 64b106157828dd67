"""Reading the images of a container in a given order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Content = TypeVar("Content")


def one_by_one(keys: Iterable[str], read: Callable[[str], Content]) -> Iterator[tuple[str, Content | OSError]]:
    """Each key with its content, or with the OSError that reading it raised."""
    for key in keys:
        try:
            yield key, read(key)
        except OSError as error:
            yield key, error
