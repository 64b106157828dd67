"""Marks that some pictures of one class bear in the same grey levels at the same place: a letter, a tick, a logo.

What is written into pictures is the same in each, whatever lies beneath; what they show by themselves varies smoothly from one
picture to the next. At points where more of a class than of the others have a stroke (`strokes`), from the images that have it:

1. *Core*: the pixels where the strokes of these images exceed those of the other classes most.
2. *Bearers*: the images whose grey levels there are those of one of them, by the root of the mean square, and stand out from what is
   beside them. Behind the bearers there is a gap: the next images are `GAP` times as far off as most bearers are, and hardly any other
   has these levels. Pictures that merely look alike there leave no gap. Then the same with the median of the bearers, most of whose
   strokes are alike around the core as well.
3. That a pattern is exactly repeated is no chance; only how it falls on the classes can be. Of pictures that are copies of each
   other elsewhere as well one counts.

Few bearers are enough, on any ground. What is not seen: a mark that lies elsewhere in each picture, or is drawn in other proportions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

REACHED = (12, 24, 48)  # grey levels of a stroke
STARTED = 4  # images that reach it, at least
SEEDS = 12  # of these, whose levels are taken for those of the mark
BEARERS, PATIENTS = 8, 5
RATIO = 10.0  # times the share of the other classes
CORE, BESIDE = 0.6, 0.2  # of the strongest stroke: pixels of the mark, at least; beside it, at most
CORE_PIXELS = 4
CONTRAST = 4.0  # grey levels between a mark and what is beside it
GAP = 2.5  # between bearers and others
ALIKE = 0.6  # correlation of the strokes of most bearers with those of the others
UNLIKE = 0.8  # of the images that do not bear a mark: have other levels there, whether anything stands out or not
MOST_ALIKE, BEHIND = 0.8, 1.25  # of the bearers: within them, and behind them
NEAREST, FARTHEST = 2.0, 40.0  # grey levels: what rounding leaves, and from where on all is far off
COPY = 0.7  # correlation of the strokes of two pictures away from a mark: they are one picture
ROUNDS = 2
LEVEL = 0.05  # chance of so uneven a share among places and classes


class Borne(NamedTuple):
    """Which images [n] bear a mark, and how far behind them the next ones are, in times their own distance."""

    bearing: np.ndarray
    gap: float


def reach(found: np.ndarray, y: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each class and pixel [s, s] of strokes [n, s, s]: by how many standard errors more of it than of the others reach one of
    the levels (root of twice the logarithm of the likelihood ratio), and which of them."""
    size = np.bincount(y)
    parts = (found[y == c] for c in range(len(size)))
    count = np.stack([[(part >= level).sum(0, dtype=np.float32) for level in REACHED] for part in parts])
    total, n = count.sum(0), len(y)
    for own, of in zip(count, size, strict=True):
        ratio = _likelihood(own, of) + _likelihood(total - own, n - of) - _likelihood(total, n)
        sure = np.sqrt(2 * np.maximum(np.where(own * (n - of) > (total - own) * of, ratio, 0), 0))
        yield sure.max(0), np.array(REACHED)[sure.argmax(0)]


def _likelihood(part: np.ndarray, of: int) -> np.ndarray:
    """Logarithm of the likelihood of so many of so many at their own share."""
    share = np.clip(part / of, 1e-9, 1 - 1e-6)
    return part * np.log(share) + (of - part) * np.log1p(-share)


def _cut(away: np.ndarray) -> tuple[float, float]:
    """Where the images so far away are cut in two: the widest gap behind `BEARERS` or more, and the distance in its middle."""
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
    """The mark that images of a class have in a window; None where it is none.

    Parameters
    ----------
    grey, shown : float32 [n, pixels]
        Grey levels, brighter in a mark, and strokes.
    start, own : bool [n]
        The images that the search begins with, and those of the class.
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
    """The images whose levels in the core are these, of those that stand out."""
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
    """How many of these pictures, by their strokes [n, s, s], differ from each other outside a window: copies of one count once."""
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
    """Whether a part of the class bears it, and almost no other image."""
    return bool((bearing & own).sum() * (~own).sum() >= RATIO * (bearing & ~own).sum() * own.sum())
