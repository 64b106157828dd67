"""Two descriptions of an image beside the probe's features, each for a witness of its own: edges by direction, and tones.

The probe's patches are averaged over a 3 x 3 grid of a 32 x 32 image: what a thin stroke does where is lost, and so is how much of
which colour there is. Histograms of oriented gradients [1]_ hold the first, histograms of grey levels or colours the second.

References
----------
.. [1] N. Dalal, B. Triggs, Histograms of oriented gradients for human detection, CVPR (2005).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

SIDE = 64  # pixels of the images whose edges are described
CELLS = 8  # of them in each direction
DIRECTIONS = 8
FAINT = 2.0  # grey levels, below which slopes of a cell and what is around it count less
MOST = 0.4  # of what is around it, beyond which a direction counts no more
LEVELS, TONES = 4, 32  # of each of three channels; of a grey image
AT_ONCE = 64  # images


def edges(x: Tensor) -> Tensor:
    """How much of the slopes of each cell lies in which direction, float32 [n, p], of images [n, channels, s, s]."""
    return torch.cat([_edges(part) for part in x.split(AT_ONCE)])


def _edges(x: Tensor) -> Tensor:
    across, down = torch.zeros_like(x), torch.zeros_like(x)
    across[..., 1:-1], down[..., 1:-1, :] = x[..., 2:] - x[..., :-2], x[..., 2:, :] - x[..., :-2, :]
    steepest = (across**2 + down**2).argmax(1, keepdim=True)
    across, down = across.gather(1, steepest)[:, 0], down.gather(1, steepest)[:, 0]
    slope = torch.hypot(across, down)
    at = torch.atan2(down, across) % math.pi / math.pi * DIRECTIONS  # light to dark is dark to light
    first = at.floor()
    beyond, first = at - first, first.long() % DIRECTIONS
    each = torch.zeros(len(x), DIRECTIONS, *slope.shape[1:])
    each.scatter_add_(1, first[:, None], (slope * (1 - beyond))[:, None])
    each.scatter_add_(1, (first + 1)[:, None] % DIRECTIONS, (slope * beyond)[:, None])
    each = avg_pool2d(each, x.shape[-1] // CELLS)
    around = avg_pool2d(pad(each.sum(1, keepdim=True) ** 2, (1, 1, 1, 1), mode="replicate"), 3, 1).sqrt()
    return (each / (around + FAINT)).clamp(max=MOST).sqrt().flatten(1)


def tones(x: Tensor) -> Tensor:
    """The square roots of the shares of grey levels, or of colours, float32 [n, p], of images [n, channels, s, s]."""
    levels = TONES if x.shape[1] == 1 else LEVELS
    steps = (x.flatten(2) * (levels / 256)).long().clamp(0, levels - 1)
    code = steps[:, 0]
    for channel in range(1, steps.shape[1]):
        code = code * levels + steps[:, channel]
    count = torch.zeros(len(x), levels ** steps.shape[1]).scatter_add_(1, code, torch.ones(()).expand(code.shape))
    return (count / code.shape[1]).sqrt()
