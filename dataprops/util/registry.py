"""Registries with rows from this package, from installed packages (entry points), and from a user's code."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Generic, Protocol, TypeVar

from dataprops.errors import DatapropsError


class Named(Protocol):
    """A row of a registry."""

    @property
    def name(self) -> str: ...


Row = TypeVar("Row", bound=Named)


class Registry(Mapping[str, Row], Generic[Row]):
    """Rows by name: built-in ones, then those of entry points, then registered ones.

    Entry points are imported on first access.

    Parameters
    ----------
    group : str
        Group of entry points, each of which names a row.
    kind : type
        Type of the rows.
    built_in : callable
        Returns the rows of this package.
    check : callable, optional
        check(row, other rows) raises DatapropsError if the row is invalid.
    """

    def __init__(
        self,
        group: str,
        kind: type[Row],
        built_in: Callable[[], Iterable[Row]],
        check: Callable[[Row, Mapping[str, Row]], None] | None = None,
    ) -> None:
        self.group, self.kind = group, kind
        self._built_in, self._check = built_in, check
        self._rows: dict[str, Row] | None = None
        self._own = 0
        self._lock = threading.RLock()

    def register(self, row: Row) -> Row:
        """Add a row; returns it.

        Raises
        ------
        DatapropsError
            If it has another type, or its name is taken.
        """
        self._join(self._loaded(), row, "register()")
        return row

    def unregister(self, name: str) -> None:
        """Remove a row."""
        self._loaded().pop(name, None)

    @property
    def extended(self) -> bool:
        """Whether there are rows besides the built-in ones, i.e. third-party code."""
        return len(self._loaded()) > self._own

    def _loaded(self) -> dict[str, Row]:
        with self._lock:
            if self._rows is None:
                from importlib.metadata import entry_points

                rows: dict[str, Row] = {row.name: row for row in self._built_in()}
                self._own = len(rows)
                for point in entry_points(group=self.group):
                    self._join(rows, point.load(), f"the entry point {point.value} of the group {self.group}")
                self._rows = rows
            return self._rows

    def _join(self, rows: dict[str, Row], row: Row, where: str) -> None:
        with self._lock:
            if not isinstance(row, self.kind):
                raise DatapropsError(f"{where} gives {row!r}, expected a {self.kind.__name__}")
            if row.name in rows:
                raise DatapropsError(f"{where}: the name {row.name!r} is taken: choose another")
            if self._check is not None:
                self._check(row, rows)
            rows[row.name] = row

    def __getitem__(self, name: str) -> Row:
        return self._loaded()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._loaded()))

    def __len__(self) -> int:
        return len(self._loaded())
