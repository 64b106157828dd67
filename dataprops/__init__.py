"""Audits of image datasets: `audit`, `label_sharpness` and `intrinsic_dimension`, imported on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataprops.audit.composition import audit
    from dataprops.properties.in_memory import intrinsic_dimension, label_sharpness

__all__ = ["audit", "intrinsic_dimension", "label_sharpness"]


def __getattr__(name: str) -> Any:
    if name == "audit":  # the package `dataprops.audit`, which is callable
        return import_module("dataprops.audit")
    if name in __all__:
        from dataprops.properties import in_memory

        return getattr(in_memory, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
