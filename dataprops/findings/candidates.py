"""Candidate pairs: images that may show the same picture, under various changes.

Each image is described by 63 numbers: its lowest 8 x 8 cosine (DCT) coefficients without the mean, divided by their norm (contrast),
then centred and scaled to equal spread over the dataset, so that features common to all images have no weight; similarity is the
cosine of two such vectors. A flip or a quarter turn only permutes the coefficients and changes their signs. The coefficients of a
crop are those of a window, obtained by two products with small matrices. So all pairs are compared under the eight symmetries of the
square, under crops at `WINDOWS`, under shifts (a window of one against another window of the other), without borders, and in five
parts of the image (burnt-in text is outside at least one of them), by products of n x 63 matrices.

A candidate is an image's best partner in one of these views, among `BLOCKS` parts of the dataset, if it is closer than best partners
usually are in that view. Nothing is decided here: `align` compares the images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from dataprops.findings.partners import close_partners
from dataprops.findings.warps import grid_of

ORDER = 8  # lowest cosine coefficients per direction
LOWEST_FIRST = np.argsort(np.add.outer(np.arange(ORDER), np.arange(ORDER)).ravel(), kind="stable")
COARSE = 28  # coefficients used for finding partners
KEPT = 5  # candidates per image
CLOSER = 0.45  # maximum 1 - cosine of a candidate, relative to the usual one of best partners in that view
FLAT = 0.25  # grey levels (RMS) of the lowest cosines, below which they are rounding error
STEP = 512  # rows compared at once
FEW = 32  # images whose coefficients are made at once, within a core's cache
BORDER_LEVELS = 6  # maximum deviation from the mean of a border line's pixels, grey levels
BORDER_ODD = 0.02  # fraction of its pixels that may deviate more
BORDERS = 3  # nested borders: a frame around an image with its own margin
MOST_BORDER = 0.4  # maximum border at each end, as a fraction of the side
LEAST_CONTENT = (
    0.36  # minimum content between borders at two opposite ends only, relative to the side; less indicates stripes
)

# symmetries of the square as (transpose, then flip left-right, then flip top-bottom), and their names
SYMMETRIES: tuple[tuple[bool, bool, bool], ...] = tuple((bool(i & 4), bool(i & 1), bool(i & 2)) for i in range(8))
SYMMETRY_NAMES = (
    "as it is",
    "flipped left to right",
    "flipped top to bottom",
    "rotated by 180°",
    "transposed",
    "rotated by 90° clockwise",
    "rotated by 90° counter-clockwise",
    "flipped across the other diagonal",
)

QUARTERS = (5, 6)  # quarter turns, each the inverse of the other

Window = tuple[float, float, float, float]  # left, top, right, bottom, as fractions of the side
WHOLE: Window = (0.0, 0.0, 1.0, 1.0)
_SHIFTS = (0.0, 0.5, 1.0)


def _window(width: float, x: float, y: float) -> Window:
    rest = 1 - width
    return (x * rest, y * rest, x * rest + width, y * rest + width)


WINDOWS: tuple[Window, ...] = (
    *(_window(0.9, x, y) for x in _SHIFTS for y in _SHIFTS),
    *(_window(0.8, x, y) for x, y in ((0.5, 0.5), (0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0))),
)
SLIGHT = _window(0.95, 0.5, 0.5)  # 5 % crop, for which all images look alike
PARTS: tuple[Window, ...] = (
    (0.15, 0.15, 0.85, 0.85),
    (0.0, 0.0, 1.0, 0.55),
    (0.0, 0.45, 1.0, 1.0),
    (0.0, 0.0, 0.55, 1.0),
    (0.45, 0.0, 1.0, 1.0),
)
# pairs of the nine windows of size 0.9: shifts by 5 and 10 % of the side, one of each two opposite shifts
SHIFTED: tuple[tuple[Window, Window], ...] = tuple(
    (_window(0.9, max(x, 0) / 2, max(y, 0) / 2), _window(0.9, max(-x, 0) / 2, max(-y, 0) / 2))
    for x in (-2, -1, 0, 1, 2)
    for y in (-2, -1, 0, 1, 2)
    if (x, y) > (0, 0)
)


class View(NamedTuple):
    """A way in which image b may match image a: the window of a that equals the window of b, b first turned by a symmetry.

    `content`: the windows are relative to the content within a uniform border, not to the image.
    """

    symmetry: int
    a: Window
    b: Window
    content: bool = False


VIEWS: tuple[View, ...] = (
    *(View(i, WHOLE, WHOLE) for i in range(8)),
    View(0, WHOLE, WHOLE, content=True),
    *(View(0, WHOLE, window, content=True) for window in (WINDOWS[4], WINDOWS[9])),
    *(View(0, WHOLE, window) for window in (*WINDOWS[:10], SLIGHT)),
    *(View(0, part, part) for part in PARTS),
    *(View(0, one, other) for one, other in SHIFTED),
)


def border_lines(thumbs: np.ndarray) -> np.ndarray:
    """Number of border lines at the left, top, right and bottom, int64 [n, 4].

    A border consists of the outermost lines that are nearly of one grey level each, up to `MOST_BORDER` of the side; nested borders
    are included.
    """
    out = np.zeros((len(thumbs), 4), np.int64)
    at = np.nonzero(_framed(thumbs))[0]
    for _ in range(BORDERS if len(at) else 0):
        found = _outermost(thumbs[at], out[at])
        changed = (found > out[at]).any(1)
        out[at] = found
        at = at[changed]
        if not len(at):
            break
    side = thumbs.shape[1]
    high, wide = side - out[:, ::2].sum(1), side - out[:, 1::2].sum(1)
    out[(np.maximum(high, wide) == side) & (np.minimum(high, wide) < LEAST_CONTENT * side)] = 0
    return out


def _framed(thumbs: np.ndarray) -> np.ndarray:
    """Whether at least one of the four outermost lines is nearly of one grey level, bool [n]; other images have no border."""
    found = np.zeros(len(thumbs), bool)
    for line in (thumbs[:, 0], thumbs[:, -1], thumbs[:, :, 0], thumbs[:, :, -1]):
        values = line.astype(np.float32)
        odd = np.abs(values - values.mean(1, keepdims=True)) > BORDER_LEVELS
        found |= odd.mean(1) <= BORDER_ODD
    return found


def _outermost(thumbs: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """`border_lines` of the area within the given lines, added to them."""
    side = thumbs.shape[1]
    out = lines.copy()
    most = int(MOST_BORDER * side)
    at = np.arange(side)
    inner = [(at >= lines[:, [axis]]) & (at < side - lines[:, [axis + 2]]) for axis in (0, 1)]
    for axis in (0, 1):
        # columns along axis 0, rows along axis 1; both become rows
        values = (thumbs.swapaxes(1, 2) if axis == 0 else thumbs).astype(np.float32)
        within = inner[1 - axis].astype(np.float32)
        count = np.maximum(within.sum(1), 1)
        mean = np.einsum("nlp,np->nl", values, within) / count[:, None]
        odd = (np.abs(values - mean[:, :, None]) > BORDER_LEVELS).astype(np.float32)
        plain = np.einsum("nlp,np->nl", odd, within) <= BORDER_ODD * count[:, None]
        plain |= ~inner[axis]
        everything = plain.all(1)
        first = np.where(everything, lines[:, axis], np.argmin(plain, 1))
        last = np.where(everything, lines[:, axis + 2], np.argmin(plain[:, ::-1], 1))
        for end, found in ((axis, first), (axis + 2, last)):
            # lines between border and content mix both
            more = found > lines[:, end]
            out[:, end] = np.where(more, np.minimum(found + max(1, side // 32), most), lines[:, end])
    return np.maximum(out, lines)


def content_boxes(thumbs: np.ndarray) -> np.ndarray:
    """Left, top, right, bottom (-1 to 1 over the side) of the content within `border_lines`, float64 [n, 4]."""
    return boxes_of(border_lines(thumbs), thumbs.shape[1])


def boxes_of(lines: np.ndarray, side: int) -> np.ndarray:
    """Left, top, right, bottom (-1 to 1 over the side) of the area within these border lines, float64 [n, 4]."""
    inset = 2 * lines / side
    return np.concatenate([inset[:, :2] - 1, 1 - inset[:, 2:]], 1)


def boxed(thumbs: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Thumbnails of the content only, scaled to the full side, float32 [n, s, s]."""
    out = np.empty(thumbs.shape, np.float32)
    scale = 0.5 * (boxes[:, 2:] - boxes[:, :2])
    middle = 0.5 * (boxes[:, 2:] + boxes[:, :2])
    for start in range(0, len(thumbs), STEP):
        part = torch.from_numpy(thumbs[start : start + STEP].astype(np.float32))[:, None]
        warp = torch.zeros(len(part), 2, 3)
        for axis in (0, 1):
            warp[:, axis, axis] = torch.from_numpy(scale[start : start + STEP, axis])
            warp[:, axis, 2] = torch.from_numpy(middle[start : start + STEP, axis])
        grid = grid_of(warp, part.shape[-1])
        out[start : start + STEP] = torch.nn.functional.grid_sample(part, grid, align_corners=False)[:, 0].numpy()
    return out


def cosine_rows(side: int, low: float, high: float) -> np.ndarray:
    """Matrix [8, side] of the cosine coefficients 0..7 of the part [low, high) of a line of `side` values."""
    inner = 2 * ORDER
    # resampled to 16 cells, each the mean over its area
    edges = np.linspace(low, high, inner + 1) * side
    cell = np.arange(side)
    covered = np.clip(np.minimum(edges[1:, None], cell + 1) - np.maximum(edges[:-1, None], cell), 0, None)
    mean = covered / covered.sum(1, keepdims=True)
    k, x = np.arange(ORDER)[:, None], np.arange(inner)[None, :]
    return (np.cos(np.pi * k * (2 * x + 1) / (2 * inner)) @ mean).astype(np.float32)


def coefficients(thumbs: np.ndarray, windows: Sequence[Window]) -> dict[Window, np.ndarray]:
    """Contrast-normalised coefficients of each window, float32 [n, 8, 8] (row frequency, column frequency); [:, 0, 0] is 0.

    All are 0 for a blank window, since blank windows of any two images are equal. Windows share rows and columns, so the products
    are made once for each of those.
    """
    n, side, _ = thumbs.shape
    spans = sorted({(w[0], w[2]) for w in windows} | {(w[1], w[3]) for w in windows})
    place = {span: slice(ORDER * i, ORDER * (i + 1)) for i, span in enumerate(spans)}
    matrix = torch.from_numpy(np.concatenate([cosine_rows(side, *span) for span in spans]))
    out = {window: np.empty((n, ORDER, ORDER), np.float32) for window in windows}
    for start in range(0, n, FEW):
        part = torch.from_numpy(thumbs[start : start + FEW].astype(np.float32, copy=False))
        every = (matrix @ (part @ matrix.T)).numpy()
        for window, coef in out.items():
            coef[start : start + FEW] = every[:, place[window[1], window[3]], place[window[0], window[2]]]
    for window, coef in out.items():
        coef[:, 0, 0] = 0
        norm = np.sqrt((coef * coef).sum((1, 2), keepdims=True))
        flat = norm < FLAT * 2 * ORDER**2  # norm of a cosine in both directions, summed over 16 x 16 values
        out[window] = np.where(flat, 0, coef / np.maximum(norm, 1e-6))
    return out


def turned(coef: np.ndarray, symmetry: int) -> np.ndarray:
    """Coefficients of the images turned by a symmetry."""
    transpose, across, down = SYMMETRIES[symmetry]
    sign = (-1.0) ** np.arange(ORDER)
    out = coef.transpose(0, 2, 1) if transpose else coef
    if across:
        out = out * sign[None, None, :]
    if down:
        out = out * sign[None, :, None]
    return out.astype(np.float32)


class _Directions(NamedTuple):
    """Coefficients [n, 8, 8] of images in a view, turned into directions by subtracting `mean` and scaling to equal spread."""

    coef: np.ndarray
    mean: np.ndarray
    spread: np.ndarray

    def low(self) -> torch.Tensor:
        """Directions of all images from the `COARSE` lowest coefficients, float32 [n, COARSE]."""
        return self._of(self.coef.reshape(len(self.coef), -1)[:, LOWEST_FIRST[:COARSE]], LOWEST_FIRST[:COARSE])

    def at(self, rows: np.ndarray) -> torch.Tensor:
        """Directions of some images from all coefficients, float32 [rows, 64]."""
        return self._of(self.coef[rows].reshape(len(rows), -1), np.arange(ORDER * ORDER))

    def _of(self, values: np.ndarray, which: np.ndarray) -> torch.Tensor:
        even = (values - self.mean.reshape(-1)[which]) / self.spread.reshape(-1)[which]
        even[~values.any(1)] = 0
        return torch.nn.functional.normalize(torch.from_numpy(np.ascontiguousarray(even)), eps=1e-6)


def _in_view(a: _Directions, b: _Directions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images with an unusually close partner, the partners, and closeness relative to the usual one (1).

    Partners are found by the `COARSE` lowest coefficients, and tested with these and with all.
    """
    row, partner, some = close_partners(a.low(), b.low(), CLOSER)
    if not some:
        return row, partner, np.empty(0, np.float32)
    exact = 1 - (a.at(row) * b.at(partner)).sum(1).numpy()
    exact /= max(float(np.median(exact[:some])), 1e-4)
    kept = some + np.nonzero(exact[some:] < CLOSER)[0]
    return row[kept], partner[kept], exact[kept]


class Candidates(NamedTuple):
    """Pairs to align: image a, image b, view (index in `VIEWS`), and closeness in that view (1: usual for best partners)."""

    a: np.ndarray
    b: np.ndarray
    view: np.ndarray
    closeness: np.ndarray


def candidate_pairs(thumbs: np.ndarray) -> Candidates:
    """Most promising pairs of n images, from thumbnails uint8 [n, s, s]; at most `KEPT` per image and role in a view."""
    n = len(thumbs)
    empty = np.empty(0, np.int64)
    if n < 2:
        return Candidates(empty, empty, empty, np.empty(0, np.float32))
    boxes = content_boxes(thumbs)
    bordered = np.nonzero(np.abs(boxes).min(1) < 1)[0]
    content = boxed(thumbs[bordered], boxes[bordered])
    grey = thumbs.astype(np.float32)
    windows = {within: {w for v in VIEWS if v.content == within for w in (v.a, v.b)} for within in (False, True)}
    whole = coefficients(grey, sorted(windows[False] | windows[True]))
    coef = {(window, False): whole[window] for window in windows[False]}
    for window, inner in coefficients(content, sorted(windows[True])).items():
        coef[window, True] = whole[window].copy()  # for the other images, the content is the whole image
        coef[window, True][bordered] = inner
    mean = {window: value.mean(0) for window, value in coef.items()}
    spread = np.sqrt(coef[WHOLE, False].var(0))
    spread = np.sqrt(spread * spread.T)  # the same for an image and its transpose
    spread = np.maximum(spread, 0.1 * spread.max() + 1e-6)
    found = []
    for number, view in enumerate(VIEWS):
        # subtract the mean of a's window from both, since they show the same part
        key = (view.a, view.content)
        a = _Directions(coef[key], mean[key], spread)
        b = _Directions(turned(coef[view.b, view.content], view.symmetry), mean[key], spread)
        row, partner, apart = _in_view(a, b)
        found.append((row, partner, np.full(len(row), number), apart))
    a, b, view, closeness = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.lexsort((view, closeness))
    a, b, view, closeness = a[order], b[order], view[order], closeness[order]
    return _keep(a, b, view, closeness, n, KEPT)


def _keep(a: np.ndarray, b: np.ndarray, view: np.ndarray, closeness: np.ndarray, n: int, kept: int) -> Candidates:
    """The best views of each pair, at most two, and the best partners of each image."""
    pair = np.minimum(a, b).astype(np.int64) * n + np.maximum(a, b)
    keep = np.zeros(len(pair), bool)
    seen: dict[int, int] = {}
    partners = np.zeros(n, np.int64)
    mirrored = [one.a == one.b and one.symmetry not in QUARTERS for one in VIEWS]  # then b in a equals a in b
    for i, key in enumerate(pair.tolist()):
        first = seen.get(key)
        if first is None:
            if partners[a[i]] >= kept and partners[b[i]] >= kept:
                continue
            partners[a[i]] += 1
            partners[b[i]] += 1
            seen[key] = int(view[i])
            keep[i] = True
        elif first >= 0 and not (first == view[i] and mirrored[first]):
            keep[i] = True
            seen[key] = -1
    return Candidates(a[keep], b[keep], view[keep], closeness[keep].astype(np.float32))
