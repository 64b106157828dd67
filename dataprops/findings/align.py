"""Alignment of image pairs.

Image b, turned by one of the eight symmetries of the square, is warped onto image a by an affine map. Gauss-Newton with the mean
gradient of both images [1]_ finds the map on band-pass filtered thumbnails (half size, then full size); weights fall with the
residual, so that burnt-in text has little effect; uniform borders are first filled with the adjacent content. Pairs that do not
converge are abandoned early. The agreement of aligned images is computed in `agreement`.

References
----------
.. [1] S. Benhimane, E. Malis, Real-time image-based tracking of planes using efficient second-order minimization, IROS (2004).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dataprops.findings.agreement import (
    LEAST_COVERED,
    PAIRS_AT_ONCE,
    agreement_of,
    block_correlation,
    blurred,
    energy_quantile,
    inner_masks,
    inside,
    warped,
)
from dataprops.findings.candidates import SYMMETRIES, VIEWS, Candidates, border_lines, boxes_of
from dataprops.findings.warps import positions
from dataprops.probe.threads import in_threads

COARSE_STEPS, FINE_STEPS = (2, 4), 1  # steps at half size, before and after the first test; at full size
FIRST_LOOK = 0.75  # minimum correlation after the first steps
LEAST_HALF = 12  # minimum pixels per side at half size
WORTH_A_LOOK = 0.45  # minimum agreement at half size
RESIDUAL = 0.7  # residual from which a pixel's weight falls, in standard deviations of the band-passed image


class Alignment(NamedTuple):
    """Alignment of m pairs (a, b).

    Attributes
    ----------
    detail : float32 [m]
        Agreement of the fine detail, -1 to 1; 0 if too little is comparable.
    warp : float32 [m, 2, 3]
        Affine map from positions in a to positions in b (after its symmetry), both from -1 to 1 over the side.
    covered : float32 [m]
        Overlap, as a fraction of the larger content.
    gain, offset : float32 [m]
        The best linear map from b's grey levels to a's: a = gain b + offset.
    differing : float32 [m]
        Fraction of the detail in blocks that do not agree (below half of `detail`).
    """

    detail: np.ndarray
    warp: np.ndarray
    covered: np.ndarray
    gain: np.ndarray
    offset: np.ndarray
    differing: np.ndarray


def turn(image: np.ndarray, symmetry: int) -> np.ndarray:
    """An image [..., height, width], turned by a symmetry of the square."""
    transpose, across, down = SYMMETRIES[symmetry]
    out = image.swapaxes(-1, -2) if transpose else image
    out = out[..., ::-1] if across else out
    return out[..., ::-1, :] if down else out


def _band(images: Tensor, within: Tensor) -> Tensor:
    """Band-pass filtered images, each divided by its standard deviation within its box (a mask [m, s, s])."""
    band = blurred(images, 0.7) - blurred(images, 4.0)
    n = within.sum((1, 2)).clamp_min(1)
    mean = (band * within).sum((1, 2)) / n
    square = (band * band * within).sum((1, 2)) / n
    spread = (square - mean * mean).clamp_min(0).sqrt().clamp_min(1e-3)
    return band / spread[:, None, None]


def _slopes(images: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients per unit of position; the side has length 2."""
    half = images.shape[-1] / 4
    across, down = torch.zeros_like(images), torch.zeros_like(images)
    across[..., 1:-1] = (images[..., 2:] - images[..., :-2]) * half
    down[..., 1:-1, :] = (images[..., 2:, :] - images[..., :-2, :]) * half
    return across, down


@lru_cache(maxsize=8)
def _monomials(side: int) -> tuple[Tensor, Tensor]:
    """x, y, 1 and their products (xx, xy, yy, x, y, 1) at the positions, [side * side, 3] and [side * side, 6]."""
    x, y = (line.reshape(-1) for line in positions(side))
    one = torch.ones_like(x)
    return torch.stack([x, y, one], 1), torch.stack([x * x, x * y, y * y, x, y, one], 1)


_PRODUCT = torch.tensor([[0, 1, 3], [1, 2, 4], [3, 4, 5]])  # index of the product of two of x, y, 1 among the six


def _step(a: Tensor, b: Tensor, warp: Tensor, within_a: Tensor, box_b: Tensor) -> tuple[Tensor, Tensor]:
    """One Gauss-Newton step of the maps [m, 2, 3] on band-passed images [m, s, s], and their correlations before it."""
    m, s, _ = a.shape
    moved, covered = warped(b, warp, box_b)
    weight = (covered & within_a).float()
    own = weight * a
    cross, power = (own * moved).sum((1, 2)), (weight * moved * moved).sum((1, 2)).clamp_min(1e-6)
    correlation = cross / ((own * a).sum((1, 2)) * power).clamp_min(1e-12).sqrt()
    moved = moved * (cross / power).clamp(0.3, 3.0)[:, None, None]
    residual = a - moved
    weight = weight / (1 + (residual / RESIDUAL) ** 2)
    across, down = _slopes(0.5 * (a + moved))
    linear, square = _monomials(s)
    from_across, from_down = across * weight, down * weight
    products = torch.stack([from_across * across, from_across * down, from_down * down], 1).reshape(m * 3, s * s)
    sums = (products @ square).reshape(m, 3, 6)[:, :, _PRODUCT]
    normal = torch.cat([torch.cat([sums[:, 0], sums[:, 1]], 2), torch.cat([sums[:, 1], sums[:, 2]], 2)], 1)
    right = torch.stack([from_across * residual, from_down * residual], 1).reshape(m * 2, s * s) @ linear
    ridge = 1e-3 * normal.diagonal(dim1=1, dim2=2).sum(1) + 1e-6
    normal = normal + ridge[:, None, None] * torch.eye(6)
    change = torch.linalg.solve(normal, right.reshape(m, 6, 1)).clamp(-0.12, 0.12).reshape(m, 2, 3)
    change = torch.cat([change + torch.eye(2, 3), torch.tensor([[[0.0, 0.0, 1.0]]]).expand(m, 1, 3)], 1)
    stepped = warp @ change
    # diverged: scaled beyond any crop
    scale = torch.linalg.det(stepped[:, :, :2])
    lost = ~((scale > 0.35) & (scale < 2.8))
    return torch.where(lost[:, None, None], warp, stepped), correlation


class _Prepared(NamedTuple):
    """Thumbnails with filled borders, float32 [n, s, s]; their content boxes [n, 4]; masks of the content and of the area within a
    surround; band-passed images at half size.
    """

    grey: Tensor
    boxes: np.ndarray
    within: Tensor
    inner: Tensor
    half: Tensor | None
    half_within: Tensor | None


def _filled(thumbs: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """Thumbnails whose borders are filled with the content's outermost lines."""
    side = thumbs.shape[1]
    at = np.arange(side)
    columns, rows = (np.clip(at, lines[:, [axis]], side - 1 - lines[:, [axis + 2]]) for axis in (0, 1))
    return np.take_along_axis(np.take_along_axis(thumbs, rows[:, :, None], 1), columns[:, None, :], 2)


def _prepared(thumbs: np.ndarray, lines: np.ndarray, halved: bool) -> _Prepared:
    boxes = boxes_of(lines, thumbs.shape[1])
    bordered = np.nonzero(lines.any(1))[0]
    filled = thumbs.astype(np.float32)
    if len(bordered):
        filled[bordered] = _filled(thumbs[bordered], lines[bordered])
    grey, box = torch.from_numpy(filled), torch.from_numpy(boxes).float()
    within = inside(box, *positions(thumbs.shape[1]))
    inner = torch.from_numpy(inner_masks(filled))
    if not halved:
        return _Prepared(grey, boxes, within, inner, None, None)
    small = torch.nn.functional.avg_pool2d(grey[:, None], 2)[:, 0]
    small_within = inside(box, *positions(small.shape[-1]))
    for start in range(0, len(small), 256):
        part = slice(start, start + 256)
        small[part] = _band(small[part], small_within[part])
    return _Prepared(grey, boxes, within, inner, small, small_within)


def _coarse(a: Tensor, b: Tensor, warp: Tensor, within_a: Tensor, box_b: Tensor) -> tuple[Tensor, Tensor]:
    """Maps found on band-passed images at half size, and which pairs agree well enough to continue."""
    for _ in range(COARSE_STEPS[0]):
        warp, _ = _step(a, b, warp, within_a, box_b)
    warp, correlation = _step(a, b, warp, within_a, box_b)
    look = torch.nonzero(correlation >= FIRST_LOOK)[:, 0]
    a, b, within_a, box_b, refined = a[look], b[look], within_a[look], box_b[look], warp[look]
    if not len(look):
        return warp, look
    for _ in range(COARSE_STEPS[1] - 1):
        refined, _ = _step(a, b, refined, within_a, box_b)
    moved, covered = warped(b, refined, box_b)
    mask = (covered & within_a).float()
    warp[look] = refined
    agrees = energy_quantile(*block_correlation(a * mask, moved * mask, mask)) >= WORTH_A_LOOK
    return warp, look[agrees]


def _turned(images: Tensor, symmetry: int) -> Tensor:
    transpose, across, down = SYMMETRIES[symmetry]
    out = images.transpose(-1, -2) if transpose else images
    dims = [axis for axis, yes in ((-1, across), (-2, down)) if yes]
    return out.flip(dims) if dims else out.contiguous()


def _piece(made: _Prepared, a: np.ndarray, b: np.ndarray, warp: Tensor, symmetry: int) -> tuple[Tensor, Tensor]:
    """Results of `agreement_of` for pairs of thumbnails, and their refined maps."""
    out = torch.zeros(len(a), 5)
    one, two = torch.from_numpy(a), torch.from_numpy(b)
    box = torch.from_numpy(_turned_box(made.boxes[b], symmetry)).float()
    look = torch.arange(len(a))
    if made.half is not None and made.half_within is not None:
        warp, look = _coarse(made.half[one], _turned(made.half[two], symmetry), warp, made.half_within[one], box)
    if len(look):
        one, two, box, refined = one[look], two[look], box[look], warp[look]
        grey_a, grey_b, within = made.grey[one], _turned(made.grey[two], symmetry), made.within[one]
        band_a, band_b = _band(grey_a, within), _band(grey_b, _turned(made.within[two], symmetry))
        for _ in range(FINE_STEPS):
            refined, _ = _step(band_a, band_b, refined, within, box)
        inner = made.inner[one], _turned(made.inner[two], symmetry)
        out[look] = agreement_of(grey_a, grey_b, refined, within, box, inner)
        warp[look] = refined
    return out, warp


def _turned_box(box: np.ndarray, symmetry: int) -> np.ndarray:
    """Boxes [n, 4] (left, top, right, bottom, from -1 to 1) of turned images."""
    transpose, across, down = SYMMETRIES[symmetry]
    left, top, right, bottom = box.T
    if transpose:
        left, top, right, bottom = top, left, bottom, right
    if across:
        left, right = -right, -left
    if down:
        top, bottom = -bottom, -top
    return np.stack([left, top, right, bottom], 1)


def _shared(box_a: np.ndarray, box_b: np.ndarray, warp: np.ndarray) -> np.ndarray:
    """Overlap of two boxes [m, 4] as a fraction of the larger, under maps from a to b without rotation, [m]."""
    scale = np.maximum(np.diagonal(warp[:, :, :2], axis1=1, axis2=2), 1e-3)
    low, high = (box_b[:, :2] - warp[:, :, 2]) / scale, (box_b[:, 2:] - warp[:, :, 2]) / scale
    both = np.clip(np.minimum(high, box_a[:, 2:]) - np.maximum(low, box_a[:, :2]), 0, None).prod(1)
    return both / np.maximum((box_a[:, 2:] - box_a[:, :2]).prod(1), (high - low).prod(1).clip(max=4))


def start_warps(view: np.ndarray, box_a: np.ndarray, box_b: np.ndarray) -> np.ndarray:
    """Maps from a to b defined by the views, [m, 2, 3]; content views refer to the boxes [m, 4]."""
    out = np.zeros((len(view), 2, 3), np.float32)
    for number in np.unique(view):
        at = np.nonzero(view == number)[0]
        one, two, content = VIEWS[number].a, VIEWS[number].b, VIEWS[number].content
        for axis in (0, 1):
            ends = []
            for window, box in ((one, box_a), (two, box_b)):
                low, high = (box[at, axis], box[at, axis + 2]) if content else (-np.ones(len(at)), np.ones(len(at)))
                ends.append((low + window[axis] * (high - low), low + window[axis + 2] * (high - low)))
            (al, ah), (bl, bh) = ends
            scale = (bh - bl) / np.maximum(ah - al, 1e-3)
            out[at, axis, axis] = scale
            out[at, axis, 2] = bl - al * scale
    return out


def align(thumbs: np.ndarray, pairs: Candidates, start: np.ndarray | None = None) -> Alignment:
    """Align image b with image a for each of m candidate pairs.

    Parameters
    ----------
    thumbs : uint8 [n, s, s]
    pairs : Candidates
    start : float32 [m, 2, 3], optional
        Initial maps, e.g. from smaller thumbnails; default: those of the views.
    """
    m = len(pairs.a)
    found, warps, shared = np.zeros((m, 5), np.float32), np.zeros((m, 2, 3), np.float32), np.zeros(m)
    symmetry = np.array([VIEWS[view].symmetry for view in pairs.view], np.int64)
    ids, ends = np.unique(np.concatenate([pairs.a, pairs.b]), return_inverse=True)
    if not m:
        return Alignment(found[:, 0], warps, found[:, 1], found[:, 2], found[:, 3], found[:, 4])
    one, two = ends[:m], ends[m:]
    lines = border_lines(thumbs[ids])
    boxes = boxes_of(lines, thumbs.shape[1])
    for turned in np.unique(symmetry):
        at = np.nonzero(symmetry == turned)[0]
        box_a, box_b = boxes[one[at]], _turned_box(boxes[two[at]], turned)
        warps[at] = start_warps(pairs.view[at], box_a, box_b) if start is None else start[at]
        shared[at] = _shared(box_a, box_b, warps[at])
    halved = start is None and thumbs.shape[1] >= 2 * LEAST_HALF
    at_once = max(8, PAIRS_AT_ONCE * 32**2 // thumbs.shape[1] ** 2)
    # compression artefacts may remove a uniform margin from one image only: then ignore the borders of both
    for pairs_here, borders in ((shared >= LEAST_COVERED, lines), (shared < LEAST_COVERED, np.zeros_like(lines))):
        here = np.nonzero(pairs_here)[0]
        used = np.unique(np.concatenate([one[here], two[here]]))
        if not len(here):
            continue
        made = _prepared(thumbs[ids[used]], borders[used], halved)
        place = np.zeros(len(ids), np.int64)
        place[used] = np.arange(len(used))
        parts = [
            (int(turned), of[first : first + at_once])
            for turned in np.unique(symmetry[here])
            for of in (here[symmetry[here] == turned],)
            for first in range(0, len(of), at_once)
        ]

        def some(part: tuple[int, np.ndarray], made: _Prepared = made, place: np.ndarray = place) -> None:
            turned, at = part
            told, warp = _piece(made, place[one[at]], place[two[at]], torch.from_numpy(warps[at]), turned)
            found[at], warps[at] = told.numpy(), warp.numpy()

        in_threads(some, parts)
    detail, covered, gain, offset, differing = found.T
    return Alignment(detail, warps, covered, gain, offset, differing)
