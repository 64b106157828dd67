"""How far two copies differ, pixel by pixel: as they are, and laid over each other with the best line between grey levels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from dataprops.findings.agreement import inside
from dataprops.findings.align import turn
from dataprops.findings.candidates import VIEWS, content_boxes
from dataprops.findings.thumbnails import Blocks, luma, stretch
from dataprops.findings.warps import grid_of, positions


def compare(
    blocks: Blocks, a: np.ndarray, b: np.ndarray, best: pd.DataFrame
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of pairs of images: their exact distance as they are, the RMS after alignment and the best line between grey levels, and the
    standard deviation of the first where they were compared."""
    distance, rms, spread = np.zeros(len(a)), np.zeros(len(a)), np.zeros(len(a))
    step = 64
    for start in range(0, len(a), step):
        at = slice(start, start + step)
        pixels: dict[int, np.ndarray] = {}
        for ids, images in blocks(np.unique(np.concatenate([a[at], b[at]])).tolist()):
            pixels |= {int(image): np.asarray(one) for image, one in zip(ids, images, strict=True)}
        one = np.stack([pixels[int(i)] for i in a[at]])
        two = np.stack([pixels[int(i)] for i in b[at]])
        apart = one.astype(np.int32) - two
        distance[at] = np.sqrt((apart * apart).sum((1, 2, 3), dtype=np.int64))
        rms[at], spread[at] = _aligned_rms(luma(one), luma(two), best.iloc[at])
    return distance, rms, spread


def _aligned_rms(one: np.ndarray, two: np.ndarray, best: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    turned = np.stack([turn(image, VIEWS[int(view)].symmetry) for image, view in zip(two, best["view"], strict=True)])
    a, b = torch.from_numpy(one), torch.from_numpy(np.ascontiguousarray(turned))
    warp = torch.from_numpy(np.stack(best["warp"].tolist()).astype(np.float32))
    grid = grid_of(warp, a.shape[-1])
    moved = torch.nn.functional.grid_sample(b[:, None], grid, align_corners=False)[:, 0]
    step = 1 + (one.shape[1] >= 128)
    few = (stretch(part[:, ::step, ::step]).thumbs for part in (one, turned))
    boxes = [torch.from_numpy(content_boxes(part)).float() for part in few]
    mask = (inside(boxes[0], *positions(a.shape[-1])) & inside(boxes[1], *grid.unbind(-1))).float()
    n = mask.sum((1, 2)).clamp_min(1)
    mean_a, mean_b = (a * mask).sum((1, 2)) / n, (moved * mask).sum((1, 2)) / n
    from_a, from_b = (a - mean_a[:, None, None]) * mask, (moved - mean_b[:, None, None]) * mask
    gain = (from_a * from_b).sum((1, 2)) / (from_b * from_b).sum((1, 2)).clamp_min(1e-3)
    rest = from_a - gain[:, None, None] * from_b
    left, spread = (((part * part).sum((1, 2)) / n).sqrt().numpy() for part in (rest, from_a))
    return left, spread
