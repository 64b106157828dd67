"""Datasets that use only a small part of the grey-level range."""

from __future__ import annotations

from collections.abc import Iterator

from dataprops.findings.check import Check
from dataprops.findings.context import Context
from dataprops.findings.registry import Finding
from dataprops.findings.rows import Row

NEARLY_ALL = 0.95  # quantile of the images: a few bright images do not hide that the others are dark


def _peak(context: Context) -> float | None:
    peaks = context.images.loc[context.images["pixels"].notna(), "peak"]
    return float(peaks.quantile(NEARLY_ALL)) if len(peaks) else None


def find(context: Context) -> Iterator[Row]:
    """One row without images, if the check fails."""
    peak = _peak(context)
    if peak is not None and context.fails(peak / 255, "narrow_range"):
        yield (), peak, f"The brightest pixel of 95 % of the images is at most grey level {peak:.0f} of 255."


def measures(context: Context) -> dict[str, float]:
    """used_range: largest grey level of the darkest 95 % of the images, relative to 255."""
    peak = _peak(context)
    return {} if peak is None else {"used_range": peak / 255}


FINDING = Finding(
    name="narrow_range",
    severity="warning",
    title="Range mostly unused",
    explanation=(
        "Nearly all images are dark: perhaps values of a lower bit depth were stored in a wider type, or [0, 1] was read as [0, 255]."
        " With few grey levels images look alike: near-duplicates and sharpness are then wrong. Set the range with --range, or use"
        " --scale per-image-max."
    ),
    find=find,
    measures=measures,
    checks=(
        Check(
            name="narrow_range",
            measure="used_range",
            min=0.25,
            severity="warning",
            title="the images use their range",
            sentence="Nearly all images use only the lowest {value:share} of the grey levels: if that is wrong, set their"
            " range with --range.",
            reason="two bits unused: real datasets of dark images still have brighter pixels than that",
        ),
    ),
    shown="text",
)
