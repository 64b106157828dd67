"""Agreement of the detail of two aligned images.

Their fine detail (what a blur of two pixels removes) is correlated in blocks of the image. `detail` is the mean of the
energy-weighted median and lower quartile over blocks: near 1 for a copy, even if text hides some blocks or brightness and contrast
differ; near 0 for images of different things, however alike they look from afar. The quartile distinguishes superimposed outlines,
e.g. of two cells, from images that agree everywhere. If a uniform surround encloses the content, such as the black around a retina
or a head, the area within it must agree as well: its outline is that of the camera, or of any head.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from dataprops.findings.warps import grid_of

BLOCKS = 8  # blocks per side
LEAST_COVERED = 0.5  # minimum overlap of the contents, as a fraction
DETAIL_BLURS = (0.6, 2.0)  # pixels of a thumbnail, standard deviations of the fine and the coarse blur
LITTLE = 0.3  # blocks with less detail than this fraction of the mean contain only noise
# maximum difference of a surround's grey levels in the corners and adjacent areas; its minimum fraction of the image
SURROUND = 6.0, 0.05
WITHIN = 0.1  # minimum fraction of the image within a surround, for a comparison
RIM = 1 / 16  # of the side, inwards from the surround: excludes the outline and the darkening near it
SHOWS = 1.0  # minimum detail (grey levels, RMS) within a surround that distinguishes images
AS_BRIGHT = 4.0  # maximum difference (grey levels, RMS) within a surround without detail
PAIRS_AT_ONCE = 256  # for images of 32 x 32 pixels


@lru_cache(maxsize=32)
def _blur_matrix(side: int, sigma: float) -> Tensor:
    at = torch.arange(side, dtype=torch.float32)
    weight = torch.exp(-0.5 * ((at[:, None] - at[None, :]) / sigma) ** 2)
    weight[weight < 1e-4] = 0  # denormal numbers slow down products
    return weight / weight.sum(1, keepdim=True)


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Images [m, s, s], blurred by a Gaussian of standard deviation `sigma` in pixels."""
    m, s, _ = images.shape
    blur = _blur_matrix(s, sigma)
    return blur @ (images.reshape(m * s, s) @ blur.T).reshape(m, s, s)


def inside(box: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Whether positions [m, s, s] are within the boxes [m, 4]."""
    left, top, right, bottom = (box[:, i, None, None] for i in range(4))
    return (x >= left) & (x <= right) & (y >= top) & (y <= bottom)


def warped(images: Tensor, warp: Tensor, box: Tensor) -> tuple[Tensor, Tensor]:
    """Images at the warped positions, and whether these are within their boxes."""
    grid = grid_of(warp, images.shape[-1])
    out = grid_sample(images[:, None], grid, padding_mode="border", align_corners=False)[:, 0]
    return out, inside(box, grid[..., 0], grid[..., 1])


def _details(one: Tensor, two: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Band-pass filtered images within the mask; the fine blur makes resampled images comparable."""
    fine, coarse = (
        [blurred(image * mask, blur) / held for image in (one, two)]
        for blur in DETAIL_BLURS
        for held in (blurred(mask, blur).clamp_min(1e-3),)
    )
    return (fine[0] - coarse[0]) * mask, (fine[1] - coarse[1]) * mask


def detail_spread(thumbs: np.ndarray) -> np.ndarray:
    """Fine detail (grey levels, RMS) of thumbnails uint8 [n, s, s], float32 [n]."""
    out = np.empty(len(thumbs), np.float32)
    for start in range(0, len(thumbs), PAIRS_AT_ONCE):
        part = torch.from_numpy(thumbs[start : start + PAIRS_AT_ONCE]).float()
        fine, coarse = (blurred(part, blur) for blur in DETAIL_BLURS)
        out[start : start + len(part)] = (fine - coarse).square().mean((1, 2)).sqrt().numpy()
    return out


def block_correlation(one: Tensor, two: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Correlation and energy of each block, [m, blocks]."""
    cell = max(4, math.ceil(one.shape[-1] / BLOCKS))
    maps = torch.stack([mask, one, two, one * one, two * two, one * two], 1)
    n, *sums = torch.nn.functional.avg_pool2d(maps, cell).flatten(2).unbind(1)
    mean_one, mean_two, square_one, square_two, product = (part / n.clamp_min(1e-3) for part in sums)
    var_one, var_two = square_one - mean_one**2, square_two - mean_two**2
    spread = (var_one.clamp_min(0) * var_two.clamp_min(0)).sqrt()
    energy = torch.where((n >= 0.5) & (spread > 1e-4), spread.sqrt(), torch.zeros(()))
    energy = torch.where(energy < LITTLE * energy.mean(1, keepdim=True), torch.zeros(()), energy)
    return (product - mean_one * mean_two) / spread.clamp_min(1e-4), energy


def energy_quantile(corr: Tensor, energy: Tensor, part: float = 0.5) -> Tensor:
    """Energy-weighted quantile of the block correlations, [m]."""
    order = corr.argsort(1)
    reached = energy.gather(1, order).cumsum(1) >= part * energy.sum(1, keepdim=True)
    return corr.gather(1, order).gather(1, reached.float().argmax(1, keepdim=True))[:, 0]


def inner_masks(grey: np.ndarray) -> np.ndarray:
    """Masks of the area within a uniform surround (three corners or more), without its outline, float32 [n, s, s]; ones if there is
    none."""
    from scipy import ndimage  # deferred: not needed for reading results

    side = grey.shape[1]
    out = np.ones(grey.shape, np.float32)
    corners = grey[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    level = np.median(corners, axis=1)
    near = np.abs(corners - level[:, None]) <= SURROUND[0]
    rim = max(2, round(RIM * side))
    for i in np.nonzero(near.sum(1) >= 3)[0]:
        flat = np.abs(grey[i] - level[i]) <= SURROUND[0]
        parts, _ = ndimage.label(flat)
        joined = parts[[0, 0, -1, -1], [0, -1, 0, -1]]
        around = np.isin(parts, joined[joined > 0])
        if around.mean() >= SURROUND[1]:
            out[i] = ~ndimage.binary_dilation(around, iterations=rim)
    return out


def _both(a: Tensor, b: Tensor, warp: Tensor, box_b: Tensor) -> Tensor:
    """Where both masks hold after the map, float [m, s, s]."""
    moved, covered = warped(b, warp, box_b)
    return a * (covered & (moved > 0.99))


def agreement_of(
    a: Tensor, b: Tensor, warp: Tensor, own: Tensor, box_b: Tensor, inner: tuple[Tensor, Tensor]
) -> Tensor:
    """detail, covered, gain, offset, differing of pairs of grey thumbnails, [m, 5].

    Parameters
    ----------
    own : Tensor
        Content mask of a, bool [m, s, s].
    inner : tuple of Tensor
        Masks of the areas within the surrounds of a and b (`inner_masks`).
    """
    moved, covered = warped(b, warp, box_b)
    mask = (covered & own).float()
    n = mask.sum((1, 2)).clamp_min(1)
    size_b = (box_b[:, 2:] - box_b[:, :2]).prod(1) / 4 / torch.linalg.det(warp[:, :, :2]).clamp_min(1e-3)
    size = torch.maximum(own.float().mean((1, 2)), size_b.clamp(max=1.0))
    fraction = mask.mean((1, 2)) / size.clamp_min(1e-6)
    mean_a, mean_b = (mask * a).sum((1, 2)) / n, (mask * moved).sum((1, 2)) / n
    from_a, from_b = (a - mean_a[:, None, None]) * mask, (moved - mean_b[:, None, None]) * mask
    gain = (from_a * from_b).sum((1, 2)) / (from_b * from_b).sum((1, 2)).clamp_min(1e-3)
    corr, energy = block_correlation(*_details(a, moved, mask), mask)
    median, quartile, total = energy_quantile(corr, energy), energy_quantile(corr, energy, 0.25), energy.sum(1)
    differing = torch.where(corr < 0.5 * median[:, None], energy, torch.zeros(())).sum(1) / total.clamp_min(1e-6)
    agree = 0.5 * (median + quartile)
    agree = torch.minimum(agree, _within(a, moved, mask * _both(*inner, warp, box_b), mask))
    detail = torch.where((total > 0) & (fraction >= LEAST_COVERED), agree, torch.zeros(()))
    return torch.stack([detail, fraction, gain, mean_a - gain * mean_b, differing], 1)


def _within(a: Tensor, b: Tensor, inner: Tensor, mask: Tensor) -> Tensor:
    """Agreement of the detail within the surrounds, [m]; 1 without a surround. If one has almost no detail, equal brightness suffices:
    compression artefacts are detail that the other lacks."""
    out = torch.ones(len(a))
    share = inner.mean((1, 2))
    at = torch.nonzero((share < mask.mean((1, 2)) - 1e-6) & (share >= WITHIN))[:, 0]
    if not len(at):
        return out
    one, two = _details(a[at], b[at], inner[at])
    powers = ((one * one).mean((1, 2)) / share[at], (two * two).mean((1, 2)) / share[at])
    least, most = (extreme(*powers).sqrt() for extreme in (torch.minimum, torch.maximum))
    corr, energy = block_correlation(one, two, inner[at])
    usual = torch.where(energy > 0, energy, torch.nan).nanmedian(1, keepdim=True).values.nan_to_num()
    agree = energy_quantile(corr, energy.minimum(usual))  # limits the weight of remains of the outline
    apart = (((a[at] - b[at]) ** 2 * inner[at]).mean((1, 2)) / share[at]).sqrt()
    alike = torch.where(most >= SHOWS, agree, torch.zeros(()))
    out[at] = torch.where(least >= SHOWS, agree, alike.maximum((apart <= AS_BRIGHT).float()))
    return out
