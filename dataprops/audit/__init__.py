"""The audit: from a source to properties, findings, checks, alerts and a report. Nothing is imported until it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataprops.audit.composition import audit

__all__ = ["audit"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from dataprops.audit import composition

        return getattr(composition, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
