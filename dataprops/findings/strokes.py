"""Thin marks (a letter, a tick, a ruler) at one location in the images of one class, on any background.

1. *Strokes*: structures brighter than their surroundings and narrower than `STROKE` of the side (white top-hat: the grey level minus
   its morphological opening), and the same for dark ones. Large bright objects and their edges are removed, and with them the outlines
   of bodies, which are similar throughout a dataset; a white letter on near-white paper remains.
2. *Locations*: where the strokes of a class exceed those of all other images most significantly (difference of means over its standard
   error), in each of the four corners, along the four edges, and in the middle.
3. *Bearers*: around such a point, the mark is the mean of the class's strokes minus that of the others or, if only part of the class
   bears it, the mean of the images similar to one of them. An image bears the mark if its strokes correlate with it (leave-one-out) by
   `ALIKE`, at offsets of a few pixels; repeated with the mean of the bearers. As other writing in the same location also correlates
   by 0.6 with a letter, stricter bounds are tried, too.
4. A mark is in part of one class and in few other images, significantly over all windows tested. A clear, isolated mark in a corner
   only needs a much higher significance. Any other must be in almost no other image and be a single pattern: either its bearers are
   closely similar and nothing continues it, as outlines do, or its brightest pixel has the same level in all bearers and in few other
   images. Along the edges and in the middle, where content is thin as well, that level and a higher similarity are required, or a
   level common to all bearers that other classes hardly reach there.
   For an exactly repeated pattern, only the distribution over classes can be chance: `stamps` finds those whose grey levels repeat,
   too, from few bearers.

Levels are the minimum over channels, so that white stands out on coloured paper. Not detected: marks within `CLEAREST` grey levels or
the noise of their background; coloured marks on black (`pixels_tell` finds thick ones); marks with fewer than `MARKED_IMAGES` images.
An outline at exactly the same location in the images of one class alone is reported, as it is a mark, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from dataprops.findings import stamps
from dataprops.util.chance import as_many

SIDE = 128
MOST = 1000  # maximum images used, balanced over classes
STROKE = 0.065  # maximum width of a stroke, relative to the side
WINDOW = 0.075  # half the size of a window, relative to the side
STRONGEST = 96  # grey levels: clip strokes at this
CELLS = 8  # per side; the outermost two are corners and edges
CORNER = 0.23  # distance from both edges, relative to the side; outlines of bodies do not come this close
PEAKS = 2  # per location and class
SURE = 3.0  # minimum excess of a class's strokes over the others', standard errors
ALIKE = (0.6, 0.7, 0.8)  # minimum correlation of a bearer with the mark: the strokes around it vary
ROUNDS = 3
SEEDS, REFINED = 60, 3  # images of a class used as templates, and the number of these refined
OFF = 2  # maximum offset of a mark in thumbnail pixels, in rows and columns
CLEAREST, CLEAR_SOUGHT = 4.0, 30.0  # minimum mean grey level of a mark's strokes; the same for a mark found by search
MARKED, MARKED_IMAGES, MARKED_PATIENTS, RATIO = (
    0.1,
    8,
    5,
    10.0,
)  # fraction of the class; images; patients; ratio to the others' fraction
CLOSE = 0.85  # correlation with the mark of a close bearer
# minimum fraction of close bearers: in a corner; in a corner, for a mark found by search (off its location or from one image); along
# an edge; for an exact repetition
CLOSELY, CLOSELY_SOUGHT, CLOSELY_EDGE, CLOSELY_EXACT = 0.35, 0.5, 0.6, 0.8
EVEN, ABOVE = 18.0, 0.9  # maximum spread of the bearers' brightest pixels; fraction of others below
ONE_LEVEL = 10.0  # the same for writing in one level; content has 12 or more
UNEVEN = 45.0  # the same for a mark found by search that stands out
ALONE = 0.6  # maximum stroke around a mark, relative to its own strength
LEVEL, LEVEL_EXACT = (
    0.01,
    0.05,
)  # significance levels: over all windows; for an exact repetition, over locations and classes
# significance level from which no similarity is required: a letter on images of many shapes is drawn wider or narrower, and with wrong
# labels other classes bear it. For isolated, clear marks in a corner of 18 clean datasets the minimum p was 10^-8.6
FAR, RATIO_FAR = 1e-12, 5.0
# the same for isolated, clear writing in one level along an edge or in the middle; the minimum on 13 clean datasets was 10^-4.8
FAR_INSIDE = 1e-7
# if most of so many classes have marks by their distribution alone, the content is strokes (digits, drawings), and no mark is told
MANY = 4


class Stroke(NamedTuple):
    """A thin mark.

    Attributes
    ----------
    label : int
        Its class.
    row, column : float
        Its centre, as fractions of the side.
    share : float
        Fraction of the class that bears it.
    bearers : int64 array
        Positions of the images of the class that bear it.
    p : float
        P-value of its distribution over the classes, uncorrected.
    """

    label: int
    row: float
    column: float
    share: float
    bearers: np.ndarray
    p: float


def _running(images: np.ndarray, width: int, axis: int, largest: bool) -> np.ndarray:
    """Running maximum (or minimum) of odd `width` along an axis, with edge padding."""
    extreme = np.maximum if largest else np.minimum
    half = width // 2
    pad = [(0, 0)] * images.ndim
    pad[axis] = (half, half)
    out = np.pad(images, pad, mode="edge")
    have = 1

    def part(array: np.ndarray, start: int, count: int) -> np.ndarray:
        return array[(slice(None),) * axis + (slice(start, start + count),)]

    while have < width:
        step = min(have, width - have)
        count = out.shape[axis] - step
        out = extreme(part(out, 0, count), part(out, step, count))
        have += step
    return out


def strokes(images: np.ndarray, bright: bool = True) -> np.ndarray:
    """White (or black) top-hat of images uint8 [n, s, s] with a square wider than a stroke."""
    width = max(3, 2 * round(STROKE * images.shape[1] / 2) + 1)
    out = np.empty_like(images)
    for start in range(0, len(images), 64):  # fits in the CPU cache
        part = images[start : start + 64] if bright else 255 - images[start : start + 64]
        opened = part
        for largest in (False, True):
            for axis in (1, 2):
                opened = _running(opened, width, axis, largest)
        out[start : start + 64] = part - opened
    return np.minimum(out, STRONGEST, out=out)


def _excess(found: np.ndarray, y: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Excess of each class's mean over that of the rest at each pixel, in standard errors, [s, s]."""
    count = np.bincount(y)
    sums = np.zeros((2, len(count), *found.shape[1:]))
    for c in range(len(count)):
        own = np.nonzero(y == c)[0]
        for start in range(0, len(own), 256):
            part = found[own[start : start + 256]].astype(np.float32)
            sums[0, c] += part.sum(0)
            sums[1, c] += np.einsum("nij,nij->ij", part, part)
    for c, n in enumerate(count):
        rest = len(y) - n
        own, other = sums[:, c] / n, (sums.sum(1) - sums[:, c]) / rest
        error = np.sqrt((own[1] - own[0] ** 2) / n + (other[1] - other[0] ** 2) / rest + 1.0 / min(n, rest))
        yield c, (own[0] - other[0]) / error


def _smooth(maps: np.ndarray) -> np.ndarray:
    """3 x 3 means of float32 [..., h, w], since a stroke may be a pixel off."""
    out = np.pad(maps, [(0, 0)] * (maps.ndim - 2) + [(1, 1), (1, 1)], mode="edge")
    out = out[..., :-2, :] + out[..., 1:-1, :] + out[..., 2:, :]
    return (out[..., :-2] + out[..., 1:-1] + out[..., 2:]) / 9


def _places(side: int) -> list[tuple[slice, slice]]:
    """Rows and columns of the four corners, the four edges and the middle."""
    near = 2 * side // CELLS
    parts = (slice(0, near), slice(near, side - near), slice(side - near, side))
    return [(rows, columns) for rows in parts for columns in parts]


class _Peak(NamedTuple):
    """Centre of a window with a maximal excess, whether it is in a corner, and the pixel of the maximum."""

    row: int
    column: int
    corner: bool
    surest: tuple[int, int]


def _peaks(excess: np.ndarray, half: int) -> Iterator[_Peak]:
    """Maxima of the excess in each location, at least half a window apart."""
    side = excess.shape[0]
    sure = _smooth(np.maximum(excess, 0).astype(np.float32))
    sure[_running(_running(excess[None], 3, 1, True), 3, 2, True)[0] < SURE] = 0
    for rows, columns in _places(side):
        here = sure[rows, columns].copy()
        for _ in range(PEAKS):
            row, column = (int(x) for x in np.unravel_index(int(here.argmax()), here.shape))
            if here[row, column] <= 0:
                break
            here[max(row - half, 0) : row + half + 1, max(column - half, 0) : column + half + 1] = 0
            at = row + rows.start, column + columns.start
            corner = all(min(x, side - 1 - x) < CORNER * side for x in at)
            top, left = (max(x - 1, 0) for x in at)
            near = excess[top : at[0] + 2, left : at[1] + 2]
            down, across = np.unravel_index(int(near.argmax()), near.shape)
            row, column = (min(max(x, half), side - 1 - half) for x in at)
            yield _Peak(row, column, corner, (top + int(down), left + int(across)))


class _Found(NamedTuple):
    """Which images [n] bear a mark, their similarity to it, the mark [pixels], and the number of search variants tried."""

    bearing: np.ndarray
    alike: np.ndarray
    mark: np.ndarray
    tries: int

    @property
    def strength(self) -> float:
        """Mean grey level of the strongest part of the mark."""
        return float(self.mark[self.mark >= 0.5 * self.mark.max()].mean())


def _direction(flat: np.ndarray) -> np.ndarray:
    flat = flat - flat.mean(-1, keepdims=True)
    return flat / np.maximum(np.linalg.norm(flat, axis=-1, keepdims=True), 1e-3)


class _Windows:
    """Strokes [n, pixels] in windows around a point: the central window, and those offset by up to `off` pixels."""

    def __init__(self, found: np.ndarray, at: tuple[int, int], half: int, off: int) -> None:
        row, column = at
        wide, self.width = half + off, 2 * half + 1
        part = found[:, max(row - wide, 0) : row + wide + 1, max(column - wide, 0) : column + wide + 1]
        before = max(wide - row, 0), max(wide - column, 0)
        pads = [(first, 2 * wide + 1 - first - size) for first, size in zip(before, part.shape[1:], strict=True)]
        self.area = np.pad(_smooth(part.astype(np.float32)), [(0, 0), *pads])
        self.starts = [(i, j) for i in range(0, 2 * off + 1) for j in range(0, 2 * off + 1)]
        self.flat = self.area.reshape(len(found), -1)
        self.window = np.lib.stride_tricks.sliding_window_view(self.area, (self.width, self.width), (1, 2))
        pixels = np.arange(self.width**2).reshape(self.width, self.width)
        self.pixel = np.full((len(self.starts), *self.area.shape[1:]), self.width**2)
        for place, (i, j) in zip(self.pixel, self.starts, strict=True):
            place[i : i + self.width, j : j + self.width] = pixels
        boxes = self._placed(np.ones(self.width**2, np.float32))
        total = self.flat @ boxes
        self.length = np.sqrt(np.maximum(self.flat**2 @ boxes - total**2 / self.width**2, 1e-6))

    def _placed(self, mark: np.ndarray) -> np.ndarray:
        """A mark at each offset within the area, [area, offsets]."""
        return np.append(mark, np.float32(0))[self.pixel].reshape(len(self.starts), -1).T

    @property
    def middle(self) -> np.ndarray:
        """The central window of each image."""
        side = self.area.shape[1]
        near = slice((side - self.width) // 2, (side + self.width) // 2)
        return self.area[:, near, near].reshape(len(self.area), -1)

    def at(self, images: np.ndarray, place: np.ndarray) -> np.ndarray:
        """Windows of these images, each at its own offset."""
        row, column = np.divmod(place, self.window.shape[2])
        return self.window[images, row, column].reshape(len(images), -1)

    def alike(self, mark: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Maximum correlation of each image with a mark over all offsets, and that offset."""
        cosine = self.flat @ self._placed(_direction(mark)) / np.maximum(self.length, 1e-3)
        best = cosine.argmax(1)
        return cosine[np.arange(len(best)), best], best


def _bearers(
    windows: _Windows, own: np.ndarray, start: np.ndarray, rest: np.ndarray, bounds: Sequence[float], tries: int
) -> Iterator[_Found]:
    """Bearers of the mark shared by these images of a class, for each similarity bound; `rest`: mean of the others."""
    middle = np.full(len(own), len(windows.starts) // 2)
    begun = _round(windows, own, start, middle, rest)
    if begun is None:
        return
    for least in bounds:
        (alike, place, mark), bearing = begun, begun[0] >= least
        for _ in range(ROUNDS - 1):
            again = _round(windows, own, bearing, place, rest)
            if again is None:
                break
            (alike, place, mark), bearing = again, again[0] >= least
        else:
            yield _Found(bearing, alike, mark, tries)


def _round(
    windows: _Windows, own: np.ndarray, bearing: np.ndarray, place: np.ndarray, rest: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Similarity of each image to the mean of these images of the class, its offset, and that mean; None for fewer than three."""
    members = np.nonzero(bearing & own)[0]
    count = len(members)
    if count < 3:
        return None
    flat = windows.at(members, place[members])
    total = flat.sum(0)
    mark = np.maximum(total / count - rest, 0)
    alike, place = windows.alike(mark)
    # leave-one-out
    without = np.maximum((total - flat) / (count - 1) - rest, 0)
    alike[members] = (_direction(windows.at(members, place[members])) * _direction(without)).sum(1)
    return alike, place, mark


def _candidates(found: np.ndarray, own: np.ndarray, at: tuple[int, int], half: int) -> Iterator[_Found]:
    """Candidate marks of a class in a window: common to the whole class, or to the images similar to one of them."""
    still = _Windows(found, at, half, 0)
    flat = still.middle
    rest = flat[~own].mean(0)
    yield from _bearers(still, own, own, rest, ALIKE[:1], 1)
    strong = np.nonzero(own & (flat.max(1) >= 2 * CLEAREST))[0]
    seeds = np.random.default_rng(len(strong)).permutation(strong)[:SEEDS]
    shape = _direction(flat)
    like = shape @ shape[seeds].T >= ALIKE[1]
    worth = like[own].mean(0) - RATIO * like[~own].mean(0)
    best = np.argsort(-worth, kind="stable")[:REFINED]
    starts = [own, *(like[:, k] & own for k in best if like[own, k].sum() >= 3)]
    tries = len(starts) * len(ALIKE)
    windows = _Windows(found, at, half, OFF)
    for start in starts:
        yield from _bearers(windows, own, start, rest, ALIKE, tries)


def _alone(found: np.ndarray, bearers: np.ndarray, own: np.ndarray, at: tuple[int, int], half: int) -> bool:
    """Whether the strokes of a mark's bearers end around it; outlines continue."""
    (row, column), wide = at, 3 * half
    top, left = max(row - wide, 0), max(column - wide, 0)
    part = found[:, top : row + wide + 1, left : column + wide + 1]
    mark = _smooth(part[bearers].mean(0, dtype=np.float32) - part[~own].mean(0, dtype=np.float32))
    away = np.maximum.outer(
        np.abs(np.arange(mark.shape[0]) + top - row), np.abs(np.arange(mark.shape[1]) + left - column)
    )
    return bool(mark[away > 2 * half].max() < ALONE * mark[away <= half].max())


class _Judge(NamedTuple):
    """Data to judge a mark by: classes and patients of the images [n], and the number of windows tested."""

    y: np.ndarray
    patient: np.ndarray
    windows: float

    def p(self, bearing: np.ndarray, own: np.ndarray) -> float | None:
        """Hypergeometric p-value of the distribution; None if too few of the class bear the mark."""
        inside, many = int((bearing & own).sum()), int(bearing.sum())
        share, rest = inside / own.sum(), (many - inside) / (~own).sum()
        if inside < MARKED_IMAGES or share < MARKED or share < RATIO_FAR * rest:
            return None
        if len(np.unique(self.patient[bearing & own])) < MARKED_PATIENTS:
            return None
        return as_many(inside, len(self.y), int(own.sum()), many)

    def convinces(
        self, p: float, window: np.ndarray, found: _Found, own: np.ndarray, corner: bool, alone: bool
    ) -> bool:
        """Whether a mark is a single pattern with a significant distribution; `window`: grey levels [n, pixels], negated for a dark
        mark; `alone`: nothing continues it."""
        return self.by_chance(p, window, found, own, corner, alone) or self.by_level(
            p, window, found, own, corner, alone
        )

    def looks(self, found: _Found, own: np.ndarray) -> float:
        """Number of such patterns possible in the class, in all windows."""
        return (int(self.y.max()) + 1) * self.windows * own.sum() / (found.bearing & own).sum()

    def by_chance(
        self, p: float, window: np.ndarray, found: _Found, own: np.ndarray, corner: bool, alone: bool
    ) -> bool:
        """Whether a clear, isolated mark is so uneven over the classes that other images may be as bright there."""
        if not alone or found.strength < CLEAR_SOUGHT:
            return False
        p *= self.looks(found, own)
        if corner:
            return p <= FAR
        bearers = found.bearing & own
        return p <= FAR_INSIDE and self._rare(found, own) and bool(window[bearers].max(1).std() <= ONE_LEVEL)

    @staticmethod
    def _rare(found: _Found, own: np.ndarray) -> bool:
        """Whether almost no image of the other classes bears the mark."""
        bearers = found.bearing & own
        return bool(bearers.sum() / own.sum() >= RATIO * (found.bearing & ~own).sum() / (~own).sum())

    def by_level(self, p: float, window: np.ndarray, found: _Found, own: np.ndarray, corner: bool, alone: bool) -> bool:
        """Whether a mark has a level that few other images reach there, or its bearers are closely similar."""
        if not self._rare(found, own):
            return False
        bearers = found.bearing & own
        closely = float((found.alike[bearers] >= CLOSE).mean())
        level = window.max(1)
        bright = level[bearers]
        even = bright.std() <= EVEN and (level[~found.bearing] < bright.mean() - bright.std()).mean() >= ABOVE
        classes = int(self.y.max()) + 1
        if even and closely >= CLOSELY_EXACT and corner and p * classes * CELLS <= LEVEL_EXACT:
            return True
        if p * self.looks(found, own) > LEVEL:
            return False
        if not corner:
            written = bright.std() <= ONE_LEVEL and (level[~own] < bright.mean() - bright.std()).mean() >= ABOVE
            return written or (even and closely >= CLOSELY_EDGE)
        if found.tries > 1:  # more search variants, more chances to pick up the outline of a body; writing stands out
            written = found.strength >= CLEAR_SOUGHT and bright.std() <= UNEVEN
            return even or (alone and closely >= CLOSELY_SOUGHT and written)
        return even or (alone and closely >= CLOSELY)


def _stamped(images: np.ndarray, found: np.ndarray, y: np.ndarray, patient: np.ndarray, half: int) -> Iterator[Stroke]:
    """Marks whose grey levels repeat, from images [n, s, s] (inverted for dark marks) and their strokes."""
    side = images.shape[1]
    for c, (sure, level) in enumerate(stamps.reach(found, y)):
        own = y == c
        for row, column, _, at in _peaks(sure, half):
            start = own & (found[:, at[0], at[1]] >= level[at])
            if start.sum() < stamps.STARTED:
                continue
            part = np.s_[:, row - half : row + half + 1, column - half : column + half + 1]
            grey, shown = (part_of[part].reshape(len(y), -1).astype(np.float32) for part_of in (images, found))
            mark = stamps.borne(grey, shown, start, own)
            if mark is None or len(np.unique(patient[mark.bearing & own])) < stamps.PATIENTS:
                continue
            bearers = np.nonzero(mark.bearing & own)[0]
            p = as_many(len(bearers), len(y), int(own.sum()), int(mark.bearing.sum()))
            if p * (int(y.max()) + 1) * CELLS > stamps.LEVEL:
                continue
            around = (
                slice(max(row - 2 * half, 0), row + 2 * half + 1),
                slice(max(column - 2 * half, 0), column + 2 * half + 1),
            )
            if stamps.different(found[bearers], around) >= stamps.BEARERS:
                yield Stroke(c, (row + 0.5) / side, (column + 0.5) / side, len(bearers) / own.sum(), bearers, p)


def thin_marks(images: np.ndarray, y: np.ndarray, patient: np.ndarray) -> list[Stroke]:
    """Thin marks of a dataset, most significant first; at most one per class and location, without repetitions.

    Parameters
    ----------
    images : uint8 [n, s, s]
        Grey levels, minimum over the channels.
    y : int64 [n]
        Classes, from 0.
    patient : int64 [n]
        Patients; images of one patient count once for `MARKED_PATIENTS`.
    """
    side = images.shape[1]
    half = max(3, round(WINDOW * side))
    # bright and dark marks, in windows that overlap by half
    judge = _Judge(y, patient, 2 * (side / half) ** 2)
    marks, uneven = [], []
    for sign in (1, -1):
        found = strokes(images, sign > 0)
        marks += _stamped(images if sign > 0 else 255 - images, found, y, patient, half)
        for c, excess in _excess(found, y):
            own = y == c
            for row, column, corner, _ in _peaks(excess, half):
                part = np.s_[:, row - half : row + half + 1, column - half : column + half + 1]
                window = sign * images[part].reshape(len(y), -1).astype(np.float32)
                for borne in _candidates(found, own, (row, column), half):
                    p = judge.p(borne.bearing, own)
                    if p is None or borne.strength < CLEAREST:
                        continue
                    p *= borne.tries
                    alone = _alone(found, borne.bearing & own, own, (row, column), half)
                    if judge.convinces(p, window, borne, own, corner, alone):
                        bearers = np.nonzero(borne.bearing & own)[0]
                        place = ((row + 0.5) / side, (column + 0.5) / side)
                        told = marks if judge.by_level(p, window, borne, own, corner, alone) else uneven
                        told.append(Stroke(c, *place, len(bearers) / own.sum(), bearers, p))
                        break
    classes = int(y.max()) + 1
    if classes >= MANY and 2 * len({mark.label for mark in uneven}) > classes:
        return []
    return _once(sorted(marks + uneven, key=lambda mark: mark.p))


def _once(marks: list[Stroke]) -> list[Stroke]:
    """The first of adjacent marks of a class."""
    out: list[Stroke] = []
    for mark in marks:
        near = (abs(mark.row - one.row) <= 2 / CELLS and abs(mark.column - one.column) <= 2 / CELLS for one in out)
        if not any(beside and one.label == mark.label for beside, one in zip(near, out, strict=True)):
            out.append(mark)
    return out
