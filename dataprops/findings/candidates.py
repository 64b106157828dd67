"""Pairs of images that may show the same picture, whatever was done to one of them.

Each image becomes 63 numbers: its lowest 8 x 8 cosine coefficients without the mean, divided by their norm (contrast), the set's
own mean taken off and its spread made even, so that what all pictures of a kind share counts for nothing; then the cosine of the
angle between two images. A flip or a quarter turn only permutes the coefficients and changes their signs. A crop of
an image has the coefficients of a window of it, which is one product with two small matrices. So all pairs are compared under the
eight symmetries of the square, under crops at `WINDOWS`, without borders, and in five parts of the picture alone (a burnt-in text
lies outside at least one of them): 38 products of n x 63 numbers.

A candidate is the best partner of an image in one of these views, among `BLOCKS` parts of the set, if it is closer than
partners in that view usually are. Nothing is decided here: `align` looks at the pictures.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

ORDER = 8  # lowest cosine coefficients in each direction
BLOCKS = 4  # parts of the set, of each of which the best partner is looked at
KEPT = 5  # candidates of an image
CLOSER = 0.55  # a candidate's 1 - cosine, over the usual one of best partners in that view
STEP = 2048  # rows compared at once
BORDER_RANGE = 12  # grey levels within a line of a border (2 % to 98 % of its pixels)
MOST_BORDER = 0.4  # of the side, at each end

# Symmetries of the square as (transpose first, then flip left-right, then flip top-bottom), with what to call them
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
PARTS: tuple[Window, ...] = (
    (0.15, 0.15, 0.85, 0.85),
    (0.0, 0.0, 1.0, 0.55),
    (0.0, 0.45, 1.0, 1.0),
    (0.0, 0.0, 0.55, 1.0),
    (0.45, 0.0, 1.0, 1.0),
)


class View(NamedTuple):
    """One way in which image b may be image a: the window of a that equals the window of b, b turned by a symmetry first.

    `content`: windows are parts not of the image but of its content, what lies within a border of one colour.
    """

    symmetry: int
    a: Window
    b: Window
    content: bool = False


VIEWS: tuple[View, ...] = (
    *(View(i, WHOLE, WHOLE) for i in range(8)),
    View(0, WHOLE, WHOLE, content=True),
    *(View(0, WHOLE, window, content=True) for window in WINDOWS),
    *(View(0, WHOLE, window) for window in WINDOWS[:10]),
    *(View(0, part, part) for part in PARTS),
)


def content_boxes(thumbs: np.ndarray) -> np.ndarray:
    """Left, top, right, bottom (-1 to 1 over the side) of what lies within borders of one colour, float64 [n, 4].

    A border is the outermost lines whose grey levels differ by little, up to `MOST_BORDER` of the side in all.
    """
    n, side, _ = thumbs.shape
    out = np.empty((n, 4))
    most = int(MOST_BORDER * side)
    for axis in (0, 1):
        low = np.percentile(thumbs, 2, axis=1 + axis, method="nearest").astype(np.int16)
        high = np.percentile(thumbs, 98, axis=1 + axis, method="nearest").astype(np.int16)
        # along axis 1 lie the rows of the image: axis 1 gives columns
        plain = (high - low) <= BORDER_RANGE
        first = np.where(plain.all(1), 0, np.argmin(plain, 1))
        last = np.where(plain.all(1), 0, np.argmin(plain[:, ::-1], 1))
        first, last = np.minimum(first, most), np.minimum(last, most)
        # the line between border and content is a mixture of both
        first, last = first + (first > 0), last + (last > 0)
        out[:, axis] = 2 * first / side - 1
        out[:, axis + 2] = 1 - 2 * last / side
    return out


def boxed(thumbs: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Thumbnails of the content alone, stretched to the full side, float32 [n, s, s]."""
    out = np.empty(thumbs.shape, np.float32)
    scale = 0.5 * (boxes[:, 2:] - boxes[:, :2])
    middle = 0.5 * (boxes[:, 2:] + boxes[:, :2])
    for start in range(0, len(thumbs), STEP):
        part = torch.from_numpy(thumbs[start : start + STEP].astype(np.float32))[:, None]
        warp = torch.zeros(len(part), 2, 3)
        for axis in (0, 1):
            warp[:, axis, axis] = torch.from_numpy(scale[start : start + STEP, axis])
            warp[:, axis, 2] = torch.from_numpy(middle[start : start + STEP, axis])
        grid = torch.nn.functional.affine_grid(warp, list(part.shape), align_corners=False)
        out[start : start + STEP] = torch.nn.functional.grid_sample(part, grid, align_corners=False)[:, 0].numpy()
    return out


def cosine_rows(side: int, low: float, high: float) -> np.ndarray:
    """The cosine coefficients 0..7 of the part [low, high) of a line of `side` values, as a matrix [8, side]."""
    inner = 2 * ORDER
    # the part resampled to 16 cells, each the mean of what it covers
    edges = np.linspace(low, high, inner + 1) * side
    cell = np.arange(side)
    covered = np.clip(np.minimum(edges[1:, None], cell + 1) - np.maximum(edges[:-1, None], cell), 0, None)
    mean = covered / covered.sum(1, keepdims=True)
    k, x = np.arange(ORDER)[:, None], np.arange(inner)[None, :]
    return (np.cos(np.pi * k * (2 * x + 1) / (2 * inner)) @ mean).astype(np.float32)


def coefficients(thumbs: np.ndarray, window: Window) -> np.ndarray:
    """Contrast-normalised coefficients of a window, float32 [n, 8, 8] (row frequency, column frequency); [:, 0, 0] is 0."""
    side = thumbs.shape[1]
    across = torch.from_numpy(cosine_rows(side, window[0], window[2]))
    down = torch.from_numpy(cosine_rows(side, window[1], window[3]))
    out = np.empty((len(thumbs), ORDER, ORDER), np.float32)
    for start in range(0, len(thumbs), STEP):
        part = torch.from_numpy(thumbs[start : start + STEP].astype(np.float32))
        out[start : start + STEP] = (down @ part @ across.T).numpy()
    out[:, 0, 0] = 0
    norm = np.sqrt((out * out).sum((1, 2), keepdims=True))
    return out / np.maximum(norm, 1e-6)


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


def _directions(coef: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> torch.Tensor:
    flat = ((coef - mean) / spread).reshape(len(coef), -1)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
    return torch.from_numpy(np.ascontiguousarray(flat))


def _best(a: torch.Tensor, b: torch.Tensor, blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """The best partner in b of each row of a in each of the blocks (a row's own number left out): cosine, number [n, blocks]."""
    n = len(a)
    edges = np.linspace(0, n, blocks + 1).astype(int)
    value, index = np.empty((n, blocks), np.float32), np.empty((n, blocks), np.int64)
    for start in range(0, n, STEP):
        part = a[start : start + STEP]
        g = part @ b.T
        own = torch.arange(len(part))
        g[own, own + start] = -2.0
        for block in range(blocks):
            best = g[:, edges[block] : edges[block + 1]].max(dim=1)
            value[start : start + STEP, block] = best.values.numpy()
            index[start : start + STEP, block] = best.indices.numpy() + edges[block]
    return value, index


class Candidates(NamedTuple):
    """Pairs to look at: image a, image b, view (number in `VIEWS`), and how close in that view (1: as best partners usually are)."""

    a: np.ndarray
    b: np.ndarray
    view: np.ndarray
    closeness: np.ndarray


def candidate_pairs(thumbs: np.ndarray, kept: int = KEPT, closer: float = CLOSER) -> Candidates:
    """The most promising pairs of n images, from their thumbnails uint8 [n, s, s]; at most `kept` of each image and view role.

    Parameters
    ----------
    closer : float
        1 - cosine of a candidate over the median of that of best partners in the view, at most.
    """
    n = len(thumbs)
    empty = np.empty(0, np.int64)
    if n < 2:
        return Candidates(empty, empty, empty, np.empty(0, np.float32))
    content = boxed(thumbs, content_boxes(thumbs))
    wanted = {(w, view.content) for view in VIEWS for w in (view.a, view.b)}
    coef = {key: coefficients(content if key[1] else thumbs, key[0]) for key in wanted}
    mean = {window: value.mean(0) for window, value in coef.items()}
    spread = np.sqrt(coef[WHOLE, False].var(0))
    spread = np.sqrt(spread * spread.T)  # the same for an image and its transpose
    spread = np.maximum(spread, 0.1 * spread.max() + 1e-6)
    blocks = min(BLOCKS, n)
    found = []
    for number, view in enumerate(VIEWS):
        # the mean of a's window is what both have taken off: it is the same picture there
        key = (view.a, view.content)
        a = _directions(coef[key], mean[key], spread)
        b = _directions(turned(coef[view.b, view.content], view.symmetry), mean[key], spread)
        value, index = _best(a, b, blocks)
        apart = 1 - value
        usual = max(float(np.median(apart.min(1))), 1e-4)
        row, block = np.nonzero(apart < closer * usual)
        found.append((row, index[row, block], np.full(len(row), number), apart[row, block] / usual))
    a, b, view, closeness = (np.concatenate(part) for part in zip(*found, strict=True))
    order = np.lexsort((view, closeness))
    a, b, view, closeness = a[order], b[order], view[order], closeness[order]
    return _keep(a, b, view, closeness, n, kept)


def _keep(a: np.ndarray, b: np.ndarray, view: np.ndarray, closeness: np.ndarray, n: int, kept: int) -> Candidates:
    """The best views of each pair, two at most, and the best partners of each image."""
    pair = np.minimum(a, b).astype(np.int64) * n + np.maximum(a, b)
    keep = np.zeros(len(pair), bool)
    seen: dict[int, int] = {}
    partners = np.zeros(n, np.int64)
    for i, key in enumerate(pair.tolist()):
        times = seen.get(key, 0)
        if times == 0:
            if partners[a[i]] >= kept and partners[b[i]] >= kept:
                continue
            partners[a[i]] += 1
            partners[b[i]] += 1
        if times < 2:
            keep[i] = True
            seen[key] = times + 1
    return Candidates(a[keep], b[keep], view[keep], closeness[keep].astype(np.float32))
