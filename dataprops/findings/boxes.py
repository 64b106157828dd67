"""Boxes of one grey level near the edge (a sticker, a blacked-out name), at one location in part of a class.

A box is flat, so that it shows neither as strokes nor as a pattern (`strokes`, `pixels_tell`). Square windows of a sixteenth of the
side are tested, and bars of half the width and twice the length. If a window is flat and of one grey level in part of a class and in
almost no other image, significantly over all windows and levels, its images (the bearers) are superimposed: the area that they all
show at that level must end abruptly on all sides, as a box does; black around bodies ends elsewhere in each image.

Around a box, the bearers look like other images. If they show the box's level there far more often, it is not a box but the plain
background of these images, e.g. white paper (`Box.ground`).
"""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import numpy as np

from dataprops.util.chance import as_many

WINDOWS = 16  # windows per side
EDGE = 0.1  # maximum distance of a box from the image edge, relative to the side
LARGEST = 0.5  # maximum length of a box, relative to the side
FLAT = 8.0  # maximum range of grey levels within a flat window
BIN = 8  # grey levels per bin; windows within two adjacent bins have the same level
AGREE, ENDED = 0.85, 0.5  # fraction of bearers that show the level: minimum within a box, maximum two pixels outside
BEYOND = 0.2  # excess over the other images of bearers that show it outside: a plain background
SHARE, IMAGES, PATIENTS, RATIO = (
    0.1,
    8,
    5,
    10.0,
)  # as for other marks: fraction of the class; images; patients; ratio to the others' fraction
LEVEL = 0.01  # significance level, corrected for all windows and levels
TRIED = 12  # windows tried per class, most uneven first


class Box(NamedTuple):
    """A box: its class, its centre as fractions of the side, the fraction of its class, positions of its bearers, and for a plain
    background its grey level."""

    label: int
    row: float
    column: float
    share: float
    bearers: np.ndarray
    ground: int | None = None


class _Windows(NamedTuple):
    """Centres [m, 2] of windows near the edge, and for each image their grey level and whether they are flat [n, m]."""

    middle: np.ndarray
    level: np.ndarray
    flat: np.ndarray


def _windows(thumbs: np.ndarray) -> _Windows:
    wide = max(2, thumbs.shape[1] // WINDOWS)
    shapes = [(wide, wide)]
    if wide >= 4:  # in smaller images a bar is a line
        shapes += [(wide // 2, 2 * wide), (2 * wide, wide // 2)]
    parts = [_windows_of(thumbs, *shape) for shape in shapes]
    middle = np.concatenate([part.middle for part in parts])
    return _Windows(middle, *(np.concatenate(two, axis=1) for two in zip(*(part[1:] for part in parts), strict=True)))


def _windows_of(thumbs: np.ndarray, high: int, wide: int) -> _Windows:
    side, steps = thumbs.shape[1], [max(1, length // 2) for length in (high, wide)]
    rows, columns = (np.arange(0, side - n + 1, step) for n, step in zip((high, wide), steps, strict=True))
    near = EDGE * side + np.array((high, wide))

    def at_edge(row: int, column: int) -> bool:
        return min(row, side - high - row) <= near[0] or min(column, side - wide - column) <= near[1]

    corners = np.array([(r, c) for r in rows for c in columns if at_edge(r, c)])
    at: np.ndarray = corners // np.array(steps)
    level, flat = (np.empty((len(thumbs), len(corners)), kind) for kind in (np.float32, bool))
    for start in range(0, len(thumbs), 64):  # fits in the CPU cache
        part = thumbs[start : start + 64]
        low, top = (
            _windowed(part, (high, wide), extreme)[:, at[:, 0], at[:, 1]] for extreme in (np.minimum, np.maximum)
        )
        level[start : start + 64], flat[start : start + 64] = (low + top) / 2, top - low <= FLAT
    return _Windows(corners + np.array((high // 2, wide // 2)), level, flat)


def _windowed(images: np.ndarray, shape: tuple[int, int], extreme: np.ufunc) -> np.ndarray:
    """Minimum (or maximum) of images [n, s, s] in windows of this shape that overlap by half, [n, rows, columns]."""
    for axis, length in zip((1, 2), shape, strict=True):
        step, last = max(1, length // 2), images.shape[axis] - length
        parts = [images[(slice(None),) * axis + (slice(i, last + i + 1, step),)] for i in range(length)]
        images = reduce(extreme, parts)
    return images


def _uneven(level: np.ndarray, flat: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Class, window, lowest level, int64 [k, 3], of those that part of a class shows and few others, most uneven first."""
    classes, bins = int(y.max()) + 1, 256 // BIN + 1
    size = np.bincount(y)
    shape = (classes, level.shape[1], bins)
    image, window = np.nonzero(flat)
    place = np.ravel_multi_index((y[image], window, (level[image, window] / BIN).astype(int)), shape)
    count = np.bincount(place, minlength=int(np.prod(shape))).reshape(shape).astype(float)
    count[..., :-1] += count[..., 1:]  # pairs of adjacent bins, so that no level is split at a bin edge
    own = count / size[:, None, None]
    rest = (count.sum(0) - count) / (len(y) - size)[:, None, None]
    fits = (count >= IMAGES) & (own >= SHARE) & (own >= RATIO * rest)
    found = np.argwhere(fits)
    worth = (own - RATIO * rest)[fits]
    return found[np.argsort(-worth, kind="stable")]


class _Extent(NamedTuple):
    """Rows and columns of a box, and the largest excess of bearers over others that show its level next to it."""

    rows: slice
    columns: slice
    beyond: float


def _extent(shown: np.ndarray, others: np.ndarray, inside: tuple[int, int]) -> _Extent | None:
    """The box around a pixel, from the fractions of bearers, and of others, that show its level [s, s]; None if there is no box or it
    does not end abruptly."""
    side = len(shown)
    row, column = inside
    spans = []
    for line, at in ((shown[:, column], row), (shown[row], column)):
        out = np.nonzero(line < AGREE)[0]
        first = int(max(out[out < at], default=-1)) + 1
        last = int(min(out[out > at], default=side))
        if last - first > LARGEST * side or last - first < 2:
            return None
        spans.append(slice(first, last))
    rows, columns = spans
    if min(rows.start, columns.start, side - rows.stop, side - columns.stop) > EDGE * side:
        return None
    if (shown[rows, columns] < AGREE).mean() > 0.1:
        return None
    lines = [(i, columns) for i in (rows.start - 3, rows.stop + 2) if 0 <= i < side]
    lines += [(rows, i) for i in (columns.start - 3, columns.stop + 2) if 0 <= i < side]
    if len(lines) < 2 or any(shown[line].mean() > ENDED for line in lines):
        return None
    return _Extent(rows, columns, max(float((shown[line] - others[line]).mean()) for line in lines))


def boxes(thumbs: np.ndarray, y: np.ndarray, patient: np.ndarray) -> list[Box]:
    """Boxes of a dataset, at most one per class: that of the largest fraction of it.

    Parameters
    ----------
    thumbs : float32 [n, s, s]
        Grey levels.
    y : int64 [n]
        Classes, from 0.
    patient : int64 [n]
        Patients; images of one patient count once for `PATIENTS`.
    """
    windows, level, flat = _windows(thumbs)
    found = _uneven(level, flat, y)
    looks = len(windows) * (256 // BIN) * (int(y.max()) + 1)
    out = []
    for c in np.unique(found[:, 0]):
        own = y == c
        for _, window, low in found[found[:, 0] == c][:TRIED]:
            bearing = flat[:, window] & (level[:, window] >= BIN * low) & (level[:, window] < BIN * (low + 2))
            inside = int((bearing & own).sum())
            p = as_many(inside, len(y), int(own.sum()), int(bearing.sum()))
            if p * looks > LEVEL or len(np.unique(patient[bearing & own])) < PATIENTS:
                continue
            middle = float(np.median(level[bearing & own, window]))
            shown, others = ((np.abs(thumbs[some] - middle) <= BIN).mean(0) for some in (bearing & own, ~bearing))
            extent = _extent(shown, others, (int(windows[window][0]), int(windows[window][1])))
            if extent is not None:
                row, column = ((part.start + part.stop) / 2 / thumbs.shape[1] for part in extent[:2])
                ground = round(middle) if extent.beyond > BEYOND else None
                out.append(Box(int(c), row, column, inside / own.sum(), np.nonzero(bearing & own)[0], ground))
                break
    return out
