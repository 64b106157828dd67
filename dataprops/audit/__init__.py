"""The audit: from a source to properties, findings, checks, alerts and a report. Submodules are imported on first use.

The package is callable: ``dataprops.audit("scans/")`` is ``dataprops.audit.audit("scans/")``.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataprops.audit.audited import Audited
    from dataprops.audit.composition import audit

__all__ = ["Audited", "audit"]


class _Callable(ModuleType):
    """A callable package."""

    def __call__(self, source: Any, labels: Any = None, **options: Any) -> Audited:
        from dataprops.audit import composition

        return composition.audit(source, labels, **options)


sys.modules[__name__].__class__ = _Callable


def __getattr__(name: str) -> Any:
    if name == "audit":
        from dataprops.audit import composition

        return composition.audit
    if name == "Audited":
        from dataprops.audit import audited

        return audited.Audited
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
