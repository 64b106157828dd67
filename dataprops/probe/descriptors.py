"""Three image descriptors beside the probe's features, each for a classifier of its own: edges, tones, and textures.

The probe averages its patches over a 3 x 3 grid of a 32 x 32 image, which loses the position of thin strokes, the colour
distribution, and how fine structures are arranged at coarser scales. Histograms of oriented gradients [1]_ capture the first,
histograms of grey levels or colours the second, a scattering transform [2]_ of two orders the third.

References
----------
.. [1] N. Dalal, B. Triggs, Histograms of oriented gradients for human detection, CVPR (2005).
.. [2] J. Bruna, S. Mallat, Invariant scattering convolution networks, PAMI 35 (2013).
"""

from __future__ import annotations

import math
from functools import cache

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
SCALES, ANGLES = 3, 6  # of the wavelets
TEXTURE_CELLS = 4  # cells along each side over which the scattering transform is averaged
CONTRAST, SILENT = 64.0, 0.01  # grey levels that count as 1; added before the logarithm


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


def textures(x: Tensor) -> Tensor:
    """Logarithms of a scattering transform and the coarse image, standardised, float32 [n, p], of images [n, channels, s, s]."""
    found = torch.cat([_scattered(part) for part in x.split(AT_ONCE)])
    spread = found.std(0, correction=0)
    return (found - found.mean(0)) / spread.clamp(min=1e-3)


def _scattered(x: Tensor) -> Tensor:
    side = x.shape[-1]
    image = torch.fft.fft2(x.mean(1) / CONTRAST)
    first: list[Tensor] = []
    second: list[Tensor] = []
    for scale in range(SCALES):
        moduli = [torch.fft.ifft2(image * wavelet).abs() for wavelet in _wavelets(side)[scale]]
        first += moduli
        coarser = [wavelet for later in _wavelets(side)[scale + 1 :] for wavelet in later]
        for modulus in moduli if coarser else []:
            # coarser wavelets are zero at high frequencies, so half the resolution is enough
            low = _low(torch.fft.fft2(modulus)) / 4
            second += [torch.fft.ifft2(low * _low(wavelet)).abs() for wavelet in coarser]
    means = [avg_pool2d(torch.stack(some, 1), some[0].shape[-1] // TEXTURE_CELLS) for some in (first, second)]
    coarse = avg_pool2d(x / CONTRAST, side // TEXTURE_CELLS)
    return torch.cat([coarse.flatten(1), *((mean + SILENT).log().flatten(1) for mean in means)], 1)


def _low(spectrum: Tensor) -> Tensor:
    """Lower half of the frequencies along both axes of [..., s, s]."""
    half = spectrum.shape[-1] // 4
    kept = [*range(half), *range(-half, 0)]
    return spectrum[..., kept, :][..., kept]


@cache
def _wavelets(side: int) -> list[list[Tensor]]:
    """Morlet wavelets in the Fourier domain, float32 [side, side], by scale and angle."""
    down, across = torch.meshgrid(*(2 * math.pi * torch.fft.fftfreq(side),) * 2, indexing="ij")

    def one(scale: int, angle: float) -> Tensor:
        along = across * math.cos(angle) + down * math.sin(angle)
        aslant = down * math.cos(angle) - across * math.sin(angle)
        wide = (0.8 * 2**scale) ** 2 / 2

        def bell(centre: float) -> Tensor:
            return torch.exp(-wide * ((along - centre) ** 2 + aslant**2))

        moved, middle = bell(0.75 * math.pi / 2**scale), bell(0.0)
        return moved - middle * moved[0, 0] / middle[0, 0]  # of mean zero

    return [[one(scale, math.pi * at / ANGLES) for at in range(ANGLES)] for scale in range(SCALES)]
