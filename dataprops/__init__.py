"""Audits of image datasets. `label_sharpness` and `intrinsic_dimension` are here; nothing else is imported until it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataprops.direct import intrinsic_dimension, label_sharpness

__all__ = ["intrinsic_dimension", "label_sharpness"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from dataprops import direct

        return getattr(direct, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
