"""Boxes of one colour near the edge - a sticker, a name that was blacked out - at one place in a part of one class.

A box leaves neither strokes nor a pattern (`strokes`, `pixels_tell`): it is flat. Windows of a sixteenth of the side are looked
at, and lying and upright ones of half the width for bars. Where such a window is flat and of one grey level in a part of one class
and in almost no other image, more than chance explains among all windows and levels, its bearers are laid on each other: what all
of them show in that level must end at once on all sides, as a box does; black around bodies ends elsewhere in each picture.

Around a box its bearers show what the other images do. Where they show its level there far oftener, it is the ground of these
pictures, white paper for instance, which all of them have in that place and many beyond it (`Box.ground`).
"""

from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import numpy as np

from dataprops.util.chance import as_many

WINDOWS = 16  # of the side: as long is a window
EDGE = 0.1  # of the side: a box begins so near to the edge of the picture
LARGEST = 0.5  # of the side: a box is no longer
FLAT = 8.0  # grey levels between the darkest and the brightest pixel of a flat window
BIN = 8  # grey levels: of one level are two windows within twice as much
AGREE, ENDED = 0.85, 0.5  # of the bearers that show the level: within a box, and two pixels beside it
BEYOND = 0.2  # of them, more than of the other images, that show it beside a box: it is the ground
SHARE, IMAGES, PATIENTS, RATIO = (
    0.1,
    8,
    5,
    10.0,
)  # as of other marks: of a class; images; patients; times the others' share
LEVEL = 0.01  # chance of so uneven a share among all windows and levels
TRIED = 12  # windows of each class, the most uneven first


class Box(NamedTuple):
    """A box: its class, its middle as fractions of the side, the share of its class, positions of the images that bear it; and of
    a ground its grey level."""

    label: int
    row: float
    column: float
    share: float
    bearers: np.ndarray
    ground: int | None = None


class _Windows(NamedTuple):
    """Middles [m, 2] of windows near the edge, and of each image the level and whether it is flat there [n, m]."""

    middle: np.ndarray
    level: np.ndarray
    flat: np.ndarray


def _windows(thumbs: np.ndarray) -> _Windows:
    wide = max(2, thumbs.shape[1] // WINDOWS)
    shapes = [(wide, wide)]
    if wide >= 4:  # of smaller pictures a bar is a line
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
    for start in range(0, len(thumbs), 64):  # stays in the cache
        part = thumbs[start : start + 64]
        low, top = (
            _windowed(part, (high, wide), extreme)[:, at[:, 0], at[:, 1]] for extreme in (np.minimum, np.maximum)
        )
        level[start : start + 64], flat[start : start + 64] = (low + top) / 2, top - low <= FLAT
    return _Windows(corners + np.array((high // 2, wide // 2)), level, flat)


def _windowed(images: np.ndarray, shape: tuple[int, int], extreme: np.ufunc) -> np.ndarray:
    """Least (or largest) values of images [n, s, s] in windows of this shape that overlap by half, [n, rows, columns]."""
    for axis, length in zip((1, 2), shape, strict=True):
        step, last = max(1, length // 2), images.shape[axis] - length
        parts = [images[(slice(None),) * axis + (slice(i, last + i + 1, step),)] for i in range(length)]
        images = reduce(extreme, parts)
    return images


def _uneven(level: np.ndarray, flat: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Class, window, lowest level, int64 [k, 3]: those that a part of one class shows and few others, the most uneven first."""
    classes, bins = int(y.max()) + 1, 256 // BIN + 1
    size = np.bincount(y)
    count = np.zeros((classes, level.shape[1], bins))
    image, window = np.nonzero(flat)
    np.add.at(count, (y[image], window, (level[image, window] / BIN).astype(int)), 1)
    count[..., :-1] += count[..., 1:]  # two adjacent bins: no level lies at the end of both
    own = count / size[:, None, None]
    rest = (count.sum(0) - count) / (len(y) - size)[:, None, None]
    fits = (count >= IMAGES) & (own >= SHARE) & (own >= RATIO * rest)
    found = np.argwhere(fits)
    worth = (own - RATIO * rest)[fits]
    return found[np.argsort(-worth, kind="stable")]


class _Extent(NamedTuple):
    """Rows and columns of a box, and by how much more of its bearers than of the others show its level beside it, at most."""

    rows: slice
    columns: slice
    beyond: float


def _extent(shown: np.ndarray, others: np.ndarray, inside: tuple[int, int]) -> _Extent | None:
    """The box around a pixel in the fractions of bearers, and of others, that show its level [s, s]; None if it is none, or does
    not end at once."""
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
    """The boxes of a set, at most one for each class: the one of the largest part of it.

    Parameters
    ----------
    thumbs : float32 [n, s, s]
        Grey levels.
    y : int64 [n]
        Classes, from 0 on.
    patient : int64 [n]
        Images of one patient count once for `PATIENTS`.
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
