"""The probe: a reference classifier trained inside the audit, which predicts what networks will do (README.md)."""

from dataprops.probe.measure import HeldOut, Probe, held_out, held_out_of, run_probe

__all__ = ["HeldOut", "Probe", "held_out", "held_out_of", "run_probe"]
