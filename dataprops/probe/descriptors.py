"""Two image descriptors beside the probe's features, each for a classifier of its own: oriented gradients, and colour histograms.

The probe averages its patches over a 3 x 3 grid of a 32 x 32 image, which loses the position of thin strokes and the colour
distribution. Histograms of oriented gradients [1]_ capture the former, histograms of grey levels or colours the latter.

References
----------
.. [1] N. Dalal, B. Triggs, Histograms of oriented gradients for human detection, CVPR (2005).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

SIDE = 64  # side of the images for HOG, pixels
CELLS = 8  # HOG cells along each side
DIRECTIONS = 8
FAINT = 2.0  # regularisation of the block normalisation, grey levels
MOST = 0.4  # clipping of the normalised histograms
LEVELS, TONES = 4, 32  # bins of each of three channels; bins of a grey image
AT_ONCE = 64  # images


def edges(x: Tensor) -> Tensor:
    """Block-normalised histograms of oriented gradients, float32 [n, p], of images [n, channels, s, s]."""
    return torch.cat([_edges(part) for part in x.split(AT_ONCE)])


def _edges(x: Tensor) -> Tensor:
    across, down = torch.zeros_like(x), torch.zeros_like(x)
    across[..., 1:-1], down[..., 1:-1, :] = x[..., 2:] - x[..., :-2], x[..., 2:, :] - x[..., :-2, :]
    steepest = (across**2 + down**2).argmax(1, keepdim=True)
    across, down = across.gather(1, steepest)[:, 0], down.gather(1, steepest)[:, 0]
    slope = torch.hypot(across, down)
    at = torch.atan2(down, across) % math.pi / math.pi * DIRECTIONS  # unsigned: light to dark equals dark to light
    first = at.floor()
    beyond, first = at - first, first.long() % DIRECTIONS
    each = torch.zeros(len(x), DIRECTIONS, *slope.shape[1:])
    each.scatter_add_(1, first[:, None], (slope * (1 - beyond))[:, None])
    each.scatter_add_(1, (first + 1)[:, None] % DIRECTIONS, (slope * beyond)[:, None])
    each = avg_pool2d(each, x.shape[-1] // CELLS)
    around = avg_pool2d(pad(each.sum(1, keepdim=True) ** 2, (1, 1, 1, 1), mode="replicate"), 3, 1).sqrt()
    return (each / (around + FAINT)).clamp(max=MOST).sqrt().flatten(1)


def tones(x: Tensor) -> Tensor:
    """Square roots of the relative frequencies of grey levels or colours, float32 [n, p], of images [n, channels, s, s]."""
    levels = TONES if x.shape[1] == 1 else LEVELS
    steps = (x.flatten(2) * (levels / 256)).long().clamp(0, levels - 1)
    code = steps[:, 0]
    for channel in range(1, steps.shape[1]):
        code = code * levels + steps[:, channel]
    count = torch.zeros(len(x), levels ** steps.shape[1]).scatter_add_(1, code, torch.ones(()).expand(code.shape))
    return (count / code.shape[1]).sqrt()
