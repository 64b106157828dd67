"""Listings of the Prefect server, which answers with one page at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PAGE = 200  # rows in one answer (PREFECT_SERVER_API_DEFAULT_LIMIT)


def all_pages(read: Callable[..., list[T]], **query: object) -> list[T]:
    """All rows that a client's method finds, read completely before any is changed."""
    rows: list[T] = []
    while True:
        page = read(**query, limit=PAGE, offset=len(rows))
        rows += page
        if len(page) < PAGE:
            return rows
