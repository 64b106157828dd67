"""Pixel difference of two copies: as they are, and after alignment and the best linear map of grey levels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from dataprops.findings.agreement import inside
from dataprops.findings.align import turn
from dataprops.findings.candidates import VIEWS, content_boxes
from dataprops.findings.thumbnails import LUMA, SIDE, Blocks, stretch
from dataprops.findings.warps import grid_of, positions

CELLS = 8  # per side, whose means are compared; of finer ones, JPEG's colours and resampled outlines differ as hues do
MOST_APART = 20.0  # grey levels, maximum that a cell counts: a letter on one of two copies adds little
ONE_LEVEL = 2.0  # grey levels, maximum range of nine neighbouring cells
GREY = 0.2  # colour spread relative to the other's, below which an image is grey
NEAREST = 0.9  # fraction of the cells that the linear map is fitted to
MOST_GAIN = 1.6  # of the linear map, equal for all channels: recoloured drawings are distinct


class Difference(NamedTuple):
    """Differences of m pairs of images (a, b), float64 [m].

    Attributes
    ----------
    distance
        Exact distance of the canonical images as they are.
    rms
        Grey levels (RMS) after alignment and the best linear map of grey levels.
    spread
        Standard deviation of a in the area compared.
    apart, half, cells
        Difference (grey levels) of the means of cells, in colour unless one of the two is grey: RMS, each at most `MOST_APART`, and
        median; and their own standard deviation in a.
    flat
        Fraction of the flatter image that has the same level as its surroundings: most of a drawing.
    """

    distance: np.ndarray
    rms: np.ndarray
    spread: np.ndarray
    apart: np.ndarray
    half: np.ndarray
    cells: np.ndarray
    flat: np.ndarray


def compare(blocks: Blocks, a: np.ndarray, b: np.ndarray, best: pd.DataFrame) -> Difference:
    """Differences of images a and b [m], with b aligned to a by the rows of `best`."""
    out = Difference(*(np.zeros(len(a)) for _ in Difference._fields))
    step = 64
    for start in range(0, len(a), step):
        at = slice(start, start + step)
        pixels: dict[int, np.ndarray] = {}
        for ids, images in blocks(np.unique(np.concatenate([a[at], b[at]])).tolist()):
            pixels |= {int(image): np.asarray(one) for image, one in zip(ids, images, strict=True)}
        one = np.stack([pixels[int(i)] for i in a[at]])
        two = np.stack([pixels[int(i)] for i in b[at]])
        rest = one.astype(np.int32) - two
        out.distance[at] = np.sqrt((rest * rest).sum((1, 2, 3), dtype=np.int64))
        for column, values in zip(out[1:], _aligned(one, two, best.iloc[at]), strict=True):
            column[at] = values
    return out


def _aligned(one: np.ndarray, two: np.ndarray, best: pd.DataFrame) -> tuple[np.ndarray, ...]:
    planes = [np.moveaxis(images, -1, 1) for images in (one, two)]
    planes[1] = np.stack(
        [turn(image, VIEWS[int(view)].symmetry) for image, view in zip(planes[1], best["view"], strict=True)]
    )
    a, b = (torch.from_numpy(np.ascontiguousarray(part)).float() for part in planes)
    warp = torch.from_numpy(np.stack(best["warp"].tolist()).astype(np.float32))
    grid = grid_of(warp, a.shape[-1])
    moved = torch.nn.functional.grid_sample(b, grid, align_corners=False)
    step = 1 + (one.shape[1] >= 128)
    few = (stretch(_luma(part)[:, ::step, ::step].numpy()).thumbs for part in (a, b))
    boxes = [torch.from_numpy(content_boxes(part)).float() for part in few]
    mask = (inside(boxes[0], *positions(a.shape[-1])) & inside(boxes[1], *grid.unbind(-1))).float()
    n = mask.sum((1, 2)).clamp_min(1)
    of_a, of_b = _luma(a), _luma(moved)
    mean_a, mean_b = (of_a * mask).sum((1, 2)) / n, (of_b * mask).sum((1, 2)) / n
    from_a, from_b = (of_a - mean_a[:, None, None]) * mask, (of_b - mean_b[:, None, None]) * mask
    gain = (from_a * from_b).sum((1, 2)) / (from_b * from_b).sum((1, 2)).clamp_min(1e-3)
    rest = from_a - gain[:, None, None] * from_b
    left, spread = (((part * part).sum((1, 2)) / n).sqrt().numpy() for part in (rest, from_a))
    flat = torch.maximum(_flat(of_a), _flat(_luma(b)))
    return left, spread, *(part.numpy() for part in _cells_apart(a, moved, mask)), flat.numpy()


def _flat(grey: torch.Tensor) -> torch.Tensor:
    """Fraction of cells of images [m, s, s] that have the same level as their eight neighbours, [m]."""
    small = torch.nn.functional.avg_pool2d(grey, max(1, grey.shape[-1] // SIDE))[:, None]
    most, least = (torch.nn.functional.max_pool2d(part, 3, 1) for part in (small, -small))
    return (most + least <= ONE_LEVEL).float().mean((1, 2, 3))


def _luma(planes: torch.Tensor) -> torch.Tensor:
    """Grey levels [m, s, s] of planes [m, c, s, s]."""
    return planes[:, 0] if planes.shape[1] == 1 else (planes * torch.tensor(LUMA)[:, None, None]).sum(1)


def _cells_apart(
    a: torch.Tensor, b: torch.Tensor, mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Difference of the means of cells of planes [m, c, s, s] within masks after the best linear map (capped RMS, median), and their
    spread, [m]."""
    cell = max(1, a.shape[-1] // CELLS)
    share = torch.nn.functional.avg_pool2d(mask, cell)
    held = (share >= 0.5).float()
    a, b = (
        torch.nn.functional.avg_pool2d(part * mask[:, None], cell) / share.clamp_min(0.5)[:, None] for part in (a, b)
    )
    hue = torch.stack([((part - part.mean(1, keepdim=True)) ** 2 * held[:, None]).sum((1, 2, 3)) for part in (a, b)])
    n = held.sum((1, 2)).clamp_min(1)
    colours = (hue.amin(0) > GREY**2 * hue.amax(0)).float()[:, None, None, None]
    a, b = (colours * part + (1 - colours) * _luma(part)[:, None] for part in (a, b))
    # refit to the cells with the smallest residuals, so that writing on one of the two does not affect the map
    _, rest = _after_line(a, b, held)
    from_a, rest = _after_line(a, b, held * (rest <= _quantile(rest, held, NEAREST)[:, None, None]))
    # a grey copy of a coloured image is as bright: with a map, hearts of any two colours would be copies
    greyed = (colours[:, :, 0, 0] == 0)[:, 0] & (hue.amax(0) > ONE_LEVEL**2 * n)
    rest = torch.where(greyed[:, None, None], (a - b).square().mean(1).sqrt(), rest)
    apart, cells = (
        ((part * held).sum((1, 2)) / n).sqrt() for part in (rest.clamp(max=MOST_APART) ** 2, (from_a**2).mean(1))
    )
    return apart, _quantile(rest, held, 0.5).nan_to_num(), cells


def _quantile(values: torch.Tensor, held: torch.Tensor, part: float) -> torch.Tensor:
    """Quantile of values [m, s, s] over the cells `held`, [m]; NaN without any."""
    return torch.where(held > 0, values, torch.nan).flatten(1).nanquantile(part, 1)


def _after_line(a: torch.Tensor, b: torch.Tensor, fitted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Planes a [m, c, s, s] minus their mean over the cells `fitted` [m, s, s], and the residual of the best linear map of b."""
    n = fitted.sum((1, 2)).clamp_min(1)[:, None, None, None]
    from_a, from_b = (part - (part * fitted[:, None]).sum((2, 3), keepdim=True) / n for part in (a, b))
    both, own = (from_a * from_b * fitted[:, None]).sum((1, 2, 3)), (from_b**2 * fitted[:, None]).sum((1, 2, 3))
    gain = (both / own.clamp_min(1e-3)).clamp(1 / MOST_GAIN, MOST_GAIN)
    return from_a, (from_a - gain[:, None, None, None] * from_b).square().mean(1).sqrt()
