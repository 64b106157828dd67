"""The probe: a reference classifier trained inside the audit, from which network performance is predicted (README.md).

torch is imported on first access to one of the names below; predictions and summaries read stored probe results without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataprops.probe.measure import HeldOut, Probe, held_out, held_out_of, run_probe

__all__ = ["HeldOut", "Probe", "held_out", "held_out_of", "run_probe"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from dataprops.probe import measure

    return getattr(measure, name)
