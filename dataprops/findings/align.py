"""Two images laid over each other, and how far their detail agrees.

Image b, turned by one of the eight symmetries of the square, is warped onto image a by an affine map. Gauss-Newton finds the map, on
thumbnails freed of slow changes of brightness (half size, then full size), with the mean gradient of both images [1]_ and weights
that fall with the residual, so that a burnt-in text or a border does not pull it. Then the fine detail of both, what a blur
of two pixels takes away, is correlated in blocks of the picture. `detail` is the energy-weighted median over blocks: near 1 for a
copy, even if a text hides some blocks or brightness and contrast differ; near 0 for two pictures of different things, however alike
they look from afar.

References
----------
.. [1] S. Benhimane, E. Malis, Real-time image-based tracking of planes using efficient second-order minimization, IROS (2004).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from dataprops.findings.candidates import SYMMETRIES, VIEWS, Candidates, content_boxes

BLOCKS = 8  # of the picture in each direction
LEAST_COVERED = 0.5  # fraction of a's content that the warped b must cover
COARSE_STEPS, FINE_STEPS = 6, 2
LEAST_HALF = 12  # pixels of a thumbnail of half size, to find a map on it
WORTH_A_LOOK = 0.45  # agreement of the shapes at half size
RESIDUAL = 0.7  # beyond which a pixel's weight falls, in spreads of the band-passed image
DETAIL_BLURS = (0.6, 2.0)  # pixels of a thumbnail
LITTLE = 0.3  # blocks with less detail than this fraction of the mean hold noise alone
PAIRS_AT_ONCE = 64


class Alignment(NamedTuple):
    """What was found of m pairs (a, b).

    Attributes
    ----------
    detail : float32 [m]
        Agreement of the fine detail, -1 to 1; 0 where too little of the two can be compared.
    warp : float32 [m, 2, 3]
        Position in b (after its symmetry) of a position in a, both from -1 to 1 over the side.
    covered : float32 [m]
        Fraction of a that b covers.
    gain, offset : float32 [m]
        The best line from b's grey levels to a's: a = gain b + offset.
    differing : float32 [m]
        Fraction of the detail that lies in blocks that do not agree (below half of `detail`).
    """

    detail: np.ndarray
    warp: np.ndarray
    covered: np.ndarray
    gain: np.ndarray
    offset: np.ndarray
    differing: np.ndarray


def turn(image: np.ndarray, symmetry: int) -> np.ndarray:
    """An image [..., height, width] turned by a symmetry of the square."""
    transpose, across, down = SYMMETRIES[symmetry]
    out = image.swapaxes(-1, -2) if transpose else image
    out = out[..., ::-1] if across else out
    return out[..., ::-1, :] if down else out


@lru_cache(maxsize=32)
def _blur_matrix(side: int, sigma: float) -> Tensor:
    at = torch.arange(side, dtype=torch.float32)
    weight = torch.exp(-0.5 * ((at[:, None] - at[None, :]) / sigma) ** 2)
    weight[weight < 1e-4] = 0  # numbers near the least of the type make products slow
    return weight / weight.sum(1, keepdim=True)


def _blur(images: Tensor, sigma: float) -> Tensor:
    m, s, _ = images.shape
    g = _blur_matrix(s, sigma).T
    across = (images.reshape(m * s, s) @ g).reshape(m, s, s).transpose(1, 2)
    return (across.reshape(m * s, s) @ g).reshape(m, s, s).transpose(1, 2)


def _band(images: Tensor) -> Tensor:
    """What lies between a fine and a coarse blur, each image divided by its spread."""
    band = _blur(images, 0.7) - _blur(images, 4.0)
    return band / band.std(dim=(1, 2), keepdim=True).clamp_min(1e-3)


def _inside(box: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Whether positions [m, s, s] lie within the boxes [m, 4]."""
    left, top, right, bottom = (box[:, i, None, None] for i in range(4))
    return (x >= left) & (x <= right) & (y >= top) & (y <= bottom)


def _warped(images: Tensor, warp: Tensor, box: Tensor) -> tuple[Tensor, Tensor]:
    """Images at the warped positions, and whether these lie within their boxes."""
    m, s, _ = images.shape
    grid = affine_grid(warp, [m, 1, s, s], align_corners=False)
    out = grid_sample(images[:, None], grid, padding_mode="border", align_corners=False)[:, 0]
    return out, _inside(box, grid[..., 0], grid[..., 1])


def _positions(side: int) -> tuple[Tensor, Tensor]:
    line = (torch.arange(side, dtype=torch.float32) * 2 + 1) / side - 1
    return line[None, None, :].expand(1, side, side), line[None, :, None].expand(1, side, side)


def _slopes(images: Tensor) -> tuple[Tensor, Tensor]:
    """Changes per unit of position, the side being 2 long."""
    half = images.shape[-1] / 4
    across, down = torch.zeros_like(images), torch.zeros_like(images)
    across[..., 1:-1] = (images[..., 2:] - images[..., :-2]) * half
    down[..., 1:-1, :] = (images[..., 2:, :] - images[..., :-2, :]) * half
    return across, down


def _step(a: Tensor, b: Tensor, warp: Tensor, box_a: Tensor, box_b: Tensor) -> Tensor:
    """One Gauss-Newton step of the maps [m, 2, 3] on band-passed images [m, s, s]."""
    m, s, _ = a.shape
    x, y = _positions(s)
    moved, covered = _warped(b, warp, box_b)
    weight = (covered & _inside(box_a, x, y)).float()
    gain = ((weight * a * moved).sum((1, 2)) / (weight * moved * moved).sum((1, 2)).clamp_min(1e-6)).clamp(0.3, 3.0)
    moved = moved * gain[:, None, None]
    residual = a - moved
    weight = weight / (1 + (residual / RESIDUAL) ** 2)
    across, down = (0.5 * (one + two) for one, two in zip(_slopes(a), _slopes(moved), strict=True))
    jacobian = torch.stack([across * x, across * y, across, down * x, down * y, down], 1).reshape(m, 6, s * s)
    weighted = jacobian * weight.reshape(m, 1, s * s)
    normal = weighted @ jacobian.transpose(1, 2)
    right = weighted @ residual.reshape(m, s * s, 1)
    ridge = 1e-3 * normal.diagonal(dim1=1, dim2=2).sum(1) + 1e-6
    normal = normal + ridge[:, None, None] * torch.eye(6)
    change = torch.linalg.solve(normal, right).clamp(-0.12, 0.12).reshape(m, 2, 3)
    change = torch.cat([change + torch.eye(2, 3), torch.tensor([[[0.0, 0.0, 1.0]]]).expand(m, 1, 3)], 1)
    stepped = warp @ change
    # a map that shrinks or stretches beyond any crop has lost its way
    scale = torch.linalg.det(stepped[:, :, :2])
    lost = ~((scale > 0.35) & (scale < 2.8))
    return torch.where(lost[:, None, None], warp, stepped)


def _detail(images: Tensor, mask: Tensor) -> Tensor:
    """What lies between a fine and a coarse blur, within the mask. The fine one makes resampled images alike."""
    fine, coarse = (_blur(images * mask, blur) / _blur(mask, blur).clamp_min(1e-3) for blur in DETAIL_BLURS)
    return (fine - coarse) * mask


def _blocked(values: Tensor, cell: int, grid: int) -> Tensor:
    """Sums over blocks, [m, grid * grid]."""
    whole = values[:, : cell * grid, : cell * grid].reshape(len(values), grid, cell, grid, cell)
    return whole.sum((2, 4)).reshape(len(values), grid * grid)


def _block_correlation(one: Tensor, two: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Correlation and energy of each block, [m, blocks]."""
    side = one.shape[-1]
    cell = max(4, math.ceil(side / BLOCKS))
    grid = side // cell
    n = _blocked(mask, cell, grid)
    safe = n.clamp_min(1)
    mean_one, mean_two = _blocked(one, cell, grid) / safe, _blocked(two, cell, grid) / safe
    var_one = _blocked(one * one, cell, grid) / safe - mean_one**2
    var_two = _blocked(two * two, cell, grid) / safe - mean_two**2
    both = _blocked(one * two, cell, grid) / safe - mean_one * mean_two
    spread = (var_one.clamp_min(0) * var_two.clamp_min(0)).sqrt()
    energy = torch.where((n >= 0.5 * cell * cell) & (spread > 1e-4), spread.sqrt(), torch.zeros(()))
    energy = torch.where(energy < LITTLE * energy.mean(1, keepdim=True), torch.zeros(()), energy)
    return both / spread.clamp_min(1e-4), energy


def _energy_median(corr: Tensor, energy: Tensor) -> Tensor:
    """The median over blocks of their correlation, weighted by energy, [m]."""
    order = corr.argsort(1)
    reached = energy.gather(1, order).cumsum(1) >= 0.5 * energy.sum(1, keepdim=True)
    return corr.gather(1, order).gather(1, reached.float().argmax(1, keepdim=True))[:, 0]


def _agreement(a: Tensor, b: Tensor, warp: Tensor, box_a: Tensor, box_b: Tensor) -> Tensor:
    """detail, covered, gain, offset, differing of pairs of grey thumbnails, [m, 5]."""
    x, y = _positions(a.shape[-1])
    moved, covered = _warped(b, warp, box_b)
    own = _inside(box_a, x, y)
    mask = (covered & own).float()
    fraction = mask.sum((1, 2)) / own.float().sum((1, 2)).clamp_min(1)
    n = mask.sum((1, 2)).clamp_min(1)
    mean_a, mean_b = (mask * a).sum((1, 2)) / n, (mask * moved).sum((1, 2)) / n
    from_a, from_b = (a - mean_a[:, None, None]) * mask, (moved - mean_b[:, None, None]) * mask
    gain = (from_a * from_b).sum((1, 2)) / (from_b * from_b).sum((1, 2)).clamp_min(1e-3)
    corr, energy = _block_correlation(_detail(a, mask), _detail(moved, mask), mask)
    median, total = _energy_median(corr, energy), energy.sum(1)
    differing = torch.where(corr < 0.5 * median[:, None], energy, torch.zeros(())).sum(1) / total.clamp_min(1e-6)
    detail = torch.where((total > 0) & (fraction >= LEAST_COVERED), median, torch.zeros(()))
    return torch.stack([detail, fraction, gain, mean_a - gain * mean_b, differing], 1)


def _coarse(a: Tensor, b: Tensor, warp: Tensor, box_a: Tensor, box_b: Tensor) -> tuple[Tensor, Tensor]:
    """Maps found at half size, and whether the shapes agree there so far that a closer look is worth it."""
    one, two = (_band(torch.nn.functional.avg_pool2d(image[:, None], 2)[:, 0]) for image in (a, b))
    for _ in range(COARSE_STEPS):
        warp = _step(one, two, warp, box_a, box_b)
    moved, covered = _warped(two, warp, box_b)
    x, y = _positions(one.shape[-1])
    mask = (covered & _inside(box_a, x, y)).float()
    return warp, _energy_median(*_block_correlation(one * mask, moved * mask, mask)) >= WORTH_A_LOOK


def _piece(a: Tensor, b: Tensor, warp: Tensor, box_a: Tensor, box_b: Tensor, started: bool) -> tuple[Tensor, Tensor]:
    """What `_agreement` says of pairs of thumbnails, and their maps, refined."""
    out = torch.zeros(len(a), 5)
    look = torch.ones(len(a), dtype=torch.bool)
    if a.shape[-1] >= 2 * LEAST_HALF and not started:
        warp, look = _coarse(a, b, warp, box_a, box_b)
    if look.any():
        a, b, box_a, box_b = a[look], b[look], box_a[look], box_b[look]
        one, two, refined = _band(a), _band(b), warp[look]
        for _ in range(FINE_STEPS):
            refined = _step(one, two, refined, box_a, box_b)
        out[look] = _agreement(a, b, refined, box_a, box_b)
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


def start_warps(view: np.ndarray, box_a: np.ndarray, box_b: np.ndarray) -> np.ndarray:
    """The maps from a to b that views say, [m, 2, 3]; a view of content is within the boxes [m, 4]."""
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
    """Lay image b over image a for each of m candidate pairs.

    Parameters
    ----------
    thumbs : uint8 [n, s, s]
    pairs : Candidates
    start : float32 [m, 2, 3], optional
        Maps to begin with, found on smaller thumbnails; else those of the views.
    """
    m = len(pairs.a)
    found, warps = np.zeros((m, 5), np.float32), np.zeros((m, 2, 3), np.float32)
    boxes = content_boxes(thumbs)
    symmetry = np.array([VIEWS[view].symmetry for view in pairs.view], np.int64)
    for turned in np.unique(symmetry):
        of = np.nonzero(symmetry == turned)[0]
        for first in range(0, len(of), PAIRS_AT_ONCE):
            at = of[first : first + PAIRS_AT_ONCE]
            box_a, box_b = boxes[pairs.a[at]], _turned_box(boxes[pairs.b[at]], int(turned))
            maps = start_warps(pairs.view[at], box_a, box_b) if start is None else start[at]
            warp = torch.from_numpy(np.ascontiguousarray(maps, np.float32))
            a = torch.from_numpy(thumbs[pairs.a[at]].astype(np.float32))
            b = torch.from_numpy(turn(thumbs[pairs.b[at]], int(turned)).astype(np.float32))
            part, warp = _piece(
                a, b, warp, *(torch.from_numpy(box).float() for box in (box_a, box_b)), start is not None
            )
            found[at], warps[at] = part.numpy(), warp.numpy()
    detail, covered, gain, offset, differing = found.T
    return Alignment(detail, warps, covered, gain, offset, differing)
