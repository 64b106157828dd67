"""Decide which values of a set are mapped to black and white, once for all of its images.

8-bit files need no decision. Integers of more bits and floats have no fixed range, and a single image is not informative (a dark
slice, a rounding error above 1), so minimum and maximum are collected over the set. From these follow

- integers: the smallest bit depth (8, 10, 12, 14, 16) that contains all values; with negative values, minimum to maximum;
- floats: [0, 1], [0, 100], [0, 255], [-1, 1], a bit depth, or minimum to maximum.

Resampling overshoot (a quarter of the range) is clipped. ``--range`` overrides the decision: unit, byte, a number of bits, LOW:HIGH,
or image (each image by its own values, which loses the relative brightness of images).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dataprops.errors import DatapropsError

AUTO, IMAGE = "auto", "image"
DEPTHS = (8, 10, 12, 14, 16)
INTEGERS, FLOATS, BYTES = "integers", "floats", "bytes"
OVERSHOOT = 0.25  # tolerated beyond the ends, as a fraction of the range
HOT = 16.0  # upper bound of hot pixels in floats otherwise within [0, 1]
PER_CENT = 100.0  # of which images have their largest value within a twentieth, most of them
FIT = 0.9  # fraction of images within [0, 1] from which a set with hot pixels counts as [0, 1]
_NUMBER = r"[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
_PAIR = re.compile(rf"\[?({_NUMBER})(?::|\.\.|,)\s*({_NUMBER})\]?")


class Range(NamedTuple):
    """Values mapped to black and white, for integers, floats, and 8-bit images; None: by each image."""

    integers: tuple[float, float] | None = None
    floats: tuple[float, float] | None = None
    bytes: tuple[float, float] | None = None

    @property
    def text(self) -> str:
        """The value of `Preprocess.range`; "image" if nothing is decided."""
        parts = [f"{name}={low:g}:{high:.10g}" for name, pair in self._asdict().items() if pair for low, high in [pair]]
        return ";".join(parts) or IMAGE


def parsed(text: str) -> Range:
    """The inverse of `Range.text`.

    >>> parsed("integers=0:4095;floats=0:1").floats
    (0.0, 1.0)
    """
    if text == IMAGE:
        return Range()
    pairs = dict(part.split("=") for part in text.split(";"))
    return Range(**{name: tuple(float(end) for end in pair.split(":")) for name, pair in pairs.items()})  # type: ignore[arg-type]


def wanted(option: str) -> tuple[float, float] | None:
    """Parse --range to the ends of a range; None for "auto" and "image".

    Raises
    ------
    DatapropsError
        If it is invalid.

    >>> wanted("unit"), wanted("12"), wanted("12bit"), wanted("-1:1"), wanted("0..4095"), wanted("auto")
    ((0.0, 1.0), (0.0, 4095.0), (0.0, 4095.0), (-1.0, 1.0), (0.0, 4095.0), None)
    """
    text = option.strip().lower()
    if text in (AUTO, IMAGE):
        return None
    if text in ("unit", "byte"):
        return 0.0, (1.0 if text == "unit" else 255.0)
    if (bits := re.fullmatch(r"(?:uint)?(\d\d?)[- ]?(?:bits?)?", text)) and 1 <= int(bits[1]) <= 32:
        return 0.0, 2.0 ** int(bits[1]) - 1
    if (pair := _PAIR.fullmatch(text)) and float(pair[1]) < float(pair[2]):
        return float(pair[1]), float(pair[2])
    raise DatapropsError(
        f"range must be auto, image, unit, byte, a bit depth such as 12bit, or LOW:HIGH such as -1:1, got {option!r}"
    )


class Facts(NamedTuple):
    """Kind ("" for 8-bit and windowed images), minimum and maximum of each image; NaN if unknown."""

    kind: Sequence[str]
    low: np.ndarray
    high: np.ndarray


def decide(facts: Facts, option: str = AUTO, previous: str | None = None) -> tuple[Range, list[tuple[str, str]]]:
    """Decide the range of a set.

    Parameters
    ----------
    facts : Facts
    option : str
        See `wanted`.
    previous : str, optional
        The last audit's decision (`Range.text`), kept while it contains all values, so that audits are comparable.

    Returns
    -------
    range : Range
    told : list of (str, str)
        Decisions and their reasons.
    """
    kinds = np.asarray(facts.kind, object)
    open_kinds = [kind for kind in (INTEGERS, FLOATS) if (kinds == kind).any()]
    if option.strip().lower() == IMAGE:
        return Range(), [("of each image", "asked for")] if open_kinds else []
    if (pair := wanted(option)) is not None:
        if not open_kinds:
            pair = None if pair == (0.0, 255.0) else pair
            return Range(bytes=pair), [(f"{option}: {_shown(pair)}", "asked for")] if pair else []
        return Range(**dict.fromkeys(open_kinds, pair)), [(f"{option}: {_shown(pair)}", "asked for")]
    out, told = Range(), []
    for kind in open_kinds:
        at = kinds == kind
        low, high = np.asarray(facts.low)[at], np.asarray(facts.high)[at]
        known = np.isfinite(low) & np.isfinite(high)
        if not known.any():
            continue
        decided = (_of_integers if kind == INTEGERS else _of_floats)(low[known], high[known])
        before = None if previous is None else getattr(parsed(previous), kind)
        kept = before is not None and before[0] <= decided[0] and decided[1] <= before[1]
        decided = before if kept else decided
        out = out._replace(**{kind: decided})
        why = f"{kind} of {int(known.sum()):,} images lie within {low[known].min():.6g} and {high[known].max():.6g}"
        told.append((_shown(decided), f"{why}; as in the last audit" if kept and before != decided else why))
    return out, told


def _of_integers(low: np.ndarray, high: np.ndarray) -> tuple[float, float]:
    bottom, top = float(low.min()), float(high.max())
    if bottom < 0:
        return bottom, max(top, bottom + 1)
    if top <= 1:
        return 0.0, 1.0
    if top == PER_CENT and (high >= PER_CENT * 0.95).mean() > 0.5:
        return 0.0, PER_CENT
    return 0.0, next((2.0**bits - 1 for bits in DEPTHS if top < 2**bits), top)


def _of_floats(low: np.ndarray, high: np.ndarray) -> tuple[float, float]:
    bottom, top = float(low.min()), float(high.max())
    within = (low >= -OVERSHOOT) & (high <= 1 + OVERSHOOT)
    if within.all():
        return (0.0, 1.0) if bottom > -OVERSHOOT / 2 or top > -2 * bottom else (bottom, max(top, bottom + 1e-6))
    if top <= 1 + OVERSHOOT and bottom >= -1 - OVERSHOOT:
        return (-1.0, 1.0) if max(top, -bottom) > 0.5 + OVERSHOOT / 2 else (-0.5, 0.5)
    if bottom >= -OVERSHOOT and top <= HOT and within.mean() >= FIT:
        return 0.0, 1.0
    if bottom >= 0 and top <= PER_CENT * 1.01 and (high >= PER_CENT * 0.95).mean() > 0.5:
        return 0.0, PER_CENT
    if bottom >= -255 * OVERSHOOT and top <= 255 * (1 + OVERSHOOT):
        # negative only by overshoot, or in hardly any image: not centred on zero
        if bottom >= 0 or top > 64:
            return 0.0, 255.0
        return bottom, top
    if bottom >= -OVERSHOOT * top:
        ends = [2.0**bits - 1 for bits in DEPTHS[1:]]
        return 0.0, next((end for end in ends if top <= end * 1.05), top)
    return bottom, top


def _shown(pair: tuple[float, float] | None) -> str:
    if pair is None:
        return "of each image"
    low, high = pair
    names = {(0.0, 1.0): "unit, ", (0.0, PER_CENT): "per cent, ", (0.0, 255.0): "byte, "}
    names |= {(0.0, 2.0**bits - 1): f"{bits} bits, " for bits in DEPTHS[1:]}
    return f"{names.get(pair, '')}{low:g} to {high:.10g}"


def unusual(text: str) -> str:
    """A remark on an unusual range (`Range.text`), such as that of normalised tensors; "" for usual ones.

    >>> unusual("floats=-2.11790:2.64")
    'the values lie between -2.1179 and 2.64, which is not a usual range of images'
    >>> unusual("floats=-1:1"), unusual("floats=0:255;integers=0:4095")
    ('', '')
    """
    pair = parsed(text).floats
    usual = [(0.0, 1.0), (-1.0, 1.0), (-0.5, 0.5), *((0.0, 2.0**bits - 1) for bits in DEPTHS)]
    if pair is None or pair in usual or pair[0] == 0:
        return ""
    return f"the values lie between {pair[0]:.5g} and {pair[1]:.5g}, which is not a usual range of images"


def on_levels(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map linearly to float32 grey levels in [0, 255], clipped at both ends.

    >>> on_levels(np.array([-1.0, 0.5, 2.0]), 0, 1).tolist()
    [0.0, 127.5, 255.0]
    """
    if not high > low:
        return np.zeros(values.shape, np.float32)
    if (low, high) == (0.0, 255.0):
        return np.clip(values, 0, 255).astype(np.float32)
    if (low, high) == (0.0, 65535.0):
        levels = np.clip(values, 0, 65535).astype(np.float32)
        levels /= np.float32(257)
        return levels
    scaled = values.astype(np.float64)
    scaled -= low
    scaled *= 255 / (high - low)
    return np.clip(scaled, 0, 255, out=scaled).astype(np.float32)
