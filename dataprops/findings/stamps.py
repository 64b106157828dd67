"""Marks with identical grey levels at the same location in some images of a class: a letter, a tick, a logo.

An overlay is the same in each image, whatever it covers; content varies smoothly between images. At points where more images of a
class than of the others have a stroke (`strokes`), starting from the images that have it:

1. *Core*: the pixels where the strokes of these images most exceed those of the other classes.
2. *Bearers*: the images whose grey levels there equal those of one of them (RMS difference) and stand out from their surroundings.
   They must be separated from the rest by a gap: the next images are `GAP` times as far away as most bearers, and hardly any other
   image has these levels. Images that merely look alike there show no gap. Repeated with the median of the bearers; the strokes of
   most bearers must be alike around the core, too.
3. An exact repetition is never chance; only its distribution over the classes can be. Of images that are also copies of each other
   elsewhere, one counts.

A few bearers suffice, on any background. Not detected: marks whose location or proportions vary between images.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

REACHED = (12, 24, 48)  # grey levels of a stroke
STARTED = 4  # minimum images with such a stroke
SEEDS = 12  # of these, the images tried as templates
BEARERS, PATIENTS = 8, 5
RATIO = 10.0  # minimum ratio to the fraction of the other classes
CORE, BESIDE = 0.6, 0.2  # relative to the strongest stroke: minimum within a mark; maximum in its surroundings
CORE_PIXELS = 4
CONTRAST = 4.0  # minimum grey levels between a mark and its surroundings
GAP = 2.5  # minimum ratio of distances, others to bearers
ALIKE = 0.6  # minimum correlation of the strokes of most bearers with those of the others
UNLIKE = 0.8  # fraction of images without the mark that have other levels there, with or without a stroke
MOST_ALIKE, BEHIND = 0.8, 1.25  # quantiles of the distances, as fractions of the bearers, inside and outside the gap
NEAREST, FARTHEST = 2.0, 40.0  # bounds of the distances, grey levels: rounding error, and clearly different
COPY = 0.7  # correlation of the strokes of two images outside the mark, from which they are copies
ROUNDS = 2
LEVEL = 0.05  # significance level of the distribution, corrected for locations and classes


class Borne(NamedTuple):
    """Which images [n] bear a mark, and the ratio of the next images' distance to theirs."""

    bearing: np.ndarray
    gap: float


def reach(found: np.ndarray, y: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each class, maps [s, s] of strokes [n, s, s]: by how many standard errors more of its images than of the others reach one
    of the levels (root of twice the log-likelihood ratio), and that level."""
    size = np.bincount(y)
    parts = (found[y == c] for c in range(len(size)))
    count = np.stack([[(part >= level).sum(0, dtype=np.float32) for level in REACHED] for part in parts])
    total, n = count.sum(0), len(y)
    for own, of in zip(count, size, strict=True):
        ratio = _likelihood(own, of) + _likelihood(total - own, n - of) - _likelihood(total, n)
        sure = np.sqrt(2 * np.maximum(np.where(own * (n - of) > (total - own) * of, ratio, 0), 0))
        yield sure.max(0), np.array(REACHED)[sure.argmax(0)]


def _likelihood(part: np.ndarray, of: int) -> np.ndarray:
    """Log-likelihood of `part` successes in `of` trials at their own rate."""
    share = np.clip(part / of, 1e-9, 1 - 1e-6)
    return part * np.log(share) + (of - part) * np.log1p(-share)


def _cut(away: np.ndarray) -> tuple[float, float]:
    """The widest gap in these distances beyond at least `BEARERS` images: its ratio, and the distance at its centre."""
    n = len(away)
    if n < BEARERS:
        return 0.0, 0.0
    order = np.sort(np.append(away, np.full(n, FARTHEST)))
    many = np.arange(BEARERS, n + 1)
    inner = np.maximum(order[(MOST_ALIKE * many).astype(int) - 1], NEAREST)
    outer = order[(BEHIND * many).astype(int) - 1]
    best = int(np.argmax(outer / inner))
    return float(outer[best] / inner[best]), float(np.sqrt(outer[best] * inner[best]))


def borne(grey: np.ndarray, shown: np.ndarray, start: np.ndarray, own: np.ndarray) -> Borne | None:
    """The mark that images of a class share in a window; None if there is none.

    Parameters
    ----------
    grey, shown : float32 [n, pixels]
        Grey levels, inverted for dark marks, and strokes.
    start, own : bool [n]
        Images that the search starts from, and images of the class.
    """
    best = Borne(start, 0.0)
    bearing = start
    for turn in range(ROUNDS + 1):
        mark = shown[bearing].mean(0) - shown[~own].mean(0)
        core, beside = mark >= CORE * mark.max(), mark <= BESIDE * mark.max()
        if core.sum() < CORE_PIXELS or not beside.any():
            return None
        there = grey[:, core]
        clear = np.nonzero(there.mean(1) - grey[:, beside].mean(1) >= CONTRAST)[0]
        if turn:
            levels = np.median(there[bearing], axis=0)[None]
        else:
            levels = there[np.nonzero(start)[0][np.argsort(-shown[start][:, core].mean(1), kind="stable")[:SEEDS]]]
        found = [_nearest(there, clear, level) for level in levels]
        found = [one for one in found if (one.bearing & own).sum() >= BEARERS]
        if not found:
            return None
        best = max(found, key=lambda one: one.gap * (_pure(one.bearing, own) or 0.1))
        bearing = best.bearing & own
    alike = np.quantile(_alike(shown[best.bearing & own]), 1 - MOST_ALIKE)
    return best if best.gap >= GAP and alike >= ALIKE and _pure(best.bearing, own) else None


def _nearest(there: np.ndarray, clear: np.ndarray, level: np.ndarray) -> Borne:
    """The images that stand out and whose core levels are closest to `level`."""
    away = np.sqrt(((there - level) ** 2).mean(1))
    gap, limit = _cut(away[clear])
    bearing = np.zeros(len(there), bool)
    bearing[clear] = away[clear] <= limit
    return Borne(bearing, gap if (away[~bearing] > limit).mean() >= UNLIKE else 0.0)


def _alike(shown: np.ndarray) -> np.ndarray:
    """Correlation of the strokes of each image [n, pixels] with the mean of the others."""
    shown = shown - shown.mean(1, keepdims=True)
    others = shown.sum(0) - shown
    return (shown * others).sum(1) / np.maximum(np.linalg.norm(shown, axis=1) * np.linalg.norm(others, axis=1), 1e-3)


def different(found: np.ndarray, window: tuple[slice, slice]) -> int:
    """Number of these images, by their strokes [n, s, s], that differ outside a window; copies count once."""
    away = found.astype(np.float32)
    away[:, window[0], window[1]] = 0
    away = away.reshape(len(away), -1)
    away -= away.mean(1, keepdims=True)
    away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-3)
    alike = away @ away.T >= COPY
    counted: list[int] = []
    for i in range(len(alike)):
        if not alike[i, counted].any():
            counted.append(i)
    return len(counted)


def _pure(bearing: np.ndarray, own: np.ndarray) -> bool:
    """Whether the mark is `RATIO` times as frequent in the class as in the rest."""
    return bool((bearing & own).sum() * (~own).sum() >= RATIO * (bearing & ~own).sum() * own.sum())
