"""The probe: a reference classifier trained inside the audit, which predicts what networks will do (README.md).

torch is imported when one of the names below is asked for: predictions and summaries read what the probe found without it.
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
