"""Features of the reference classifier: convolution with random whitened patches of the images themselves, without training.

    image -> 32 x 32 -> 6 x 6 patches, contrast-normalised and ZCA-whitened -> 160 filters, both signs of their response
          -> means over a 3 x 3 grid, with the image itself averaged over a 4 x 4 grid -> each feature standardised

After Coates & Ng [1]_. Filters, whitening and standardisation are fitted to the images without their labels.

References
----------
.. [1] A. Coates, A. Ng, The Importance of Encoding Versus Training with Sparse Coding and Vector Quantization, ICML 2011.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from dataprops.probe.threads import in_threads
from dataprops.util.grid import resized

SIDE = 32
PATCH = 6
FILTERS = 160
GRID = 3
COARSE = 4
COARSE_FRACTION = 0.2  # of the variance, for the coarse image: zero-mean patches do not see brightness
SAMPLED = 8_000  # patches to which the whitening is fitted
CONTRAST = 10.0  # regularisation of the patch variance, grey levels squared
WHITENING = 0.1
BATCH = 8  # images whose responses fit into a core's cache: batches of 128 take twice the time


class Encoder(NamedTuple):
    """Parameters of the map from images to features.

    Attributes
    ----------
    weight : float32 [patch, FILTERS]
        Product of whitening and filters.
    center : float32 [patch]
        Mean of the normalised patches.
    mean, scale : float32 [features]
        Standardisation.
    """

    weight: torch.Tensor
    center: torch.Tensor
    mean: torch.Tensor
    scale: torch.Tensor


def shrink(images: np.ndarray, side: int = SIDE) -> torch.Tensor:
    """uint8 [n, h, w, c] -> float32 [n, c, side, side] in grey levels: area averaging, or bilinear for smaller images."""
    return torch.from_numpy(resized(images, side))


def fit_encoder(x: torch.Tensor, seed: int) -> tuple[Encoder, np.ndarray]:
    """Fit an encoder to images [n, c, side, side]; returns it with the features, float32 [n, p]."""
    encoder = _filters(x, seed)
    raw = encode(encoder, x)
    mean, scale = raw.mean(0), raw.std(0, correction=0)
    floor = 1e-3 * scale.max().clamp(min=1e-6)
    scale = torch.maximum(scale, floor)
    few = x.shape[1] * COARSE**2
    scale[-few:] /= np.sqrt(COARSE_FRACTION / (1 - COARSE_FRACTION) * (len(scale) - few) / few)
    return encoder._replace(mean=mean, scale=scale), ((raw - mean) / scale).numpy()


def _filters(x: torch.Tensor, seed: int) -> Encoder:
    rng = np.random.default_rng([seed, 7])
    n, channels, side, _ = x.shape
    at = rng.integers(0, (n, side - PATCH + 1, side - PATCH + 1), (SAMPLED, 3))
    rows = at[:, 1, None, None] + np.arange(PATCH)[:, None]
    columns = at[:, 2, None, None] + np.arange(PATCH)
    patches = x.numpy()[at[:, 0, None, None], :, rows, columns]  # [sampled, PATCH, PATCH, channels]
    flat = np.ascontiguousarray(patches.transpose(0, 3, 1, 2)).reshape(SAMPLED, -1).astype(np.float64)
    flat -= flat.mean(1, keepdims=True)
    flat /= np.sqrt((flat**2).mean(1, keepdims=True) + CONTRAST)
    center = flat.mean(0)
    values, vectors = np.linalg.eigh(np.cov(flat - center, rowvar=False))
    whitening = (vectors / np.sqrt(np.maximum(values, 0) + WHITENING)) @ vectors.T
    chosen = (flat[rng.choice(SAMPLED, FILTERS, replace=False)] - center) @ whitening
    chosen /= np.linalg.norm(chosen, axis=1, keepdims=True) + 1e-6
    features = 2 * FILTERS * GRID**2 + channels * COARSE**2
    return Encoder(
        torch.from_numpy(whitening @ chosen.T).float(),
        torch.from_numpy(center).float(),
        torch.zeros(features),
        torch.ones(features),
    )


@cache
def _windows(side: int) -> torch.Tensor:
    """Matrix of moving averages over PATCH pixels, float32 [side - PATCH + 1, side]: faster than torch's pooling."""
    at, first = torch.arange(side), torch.arange(side - PATCH + 1)[:, None]
    return ((at >= first) & (at < first + PATCH)).float() / PATCH


def _means(response: torch.Tensor) -> torch.Tensor:
    """Means over grid cells, [n, filters * GRID * GRID], of responses [n, filters, s, s]; s is a multiple of GRID.

    Summed over rows, then columns; a matrix product takes five times as long.
    """
    n, side = len(response), response.shape[-1]
    cell = side // GRID
    rows = response.reshape(-1, cell, side).sum(1)
    return (rows.view(-1, cell).sum(1) / cell**2).view(n, -1)


def _by_product(x: torch.Tensor, filters: torch.Tensor) -> torch.Tensor:
    """`conv2d` as a matrix product: for one channel, the gradient with respect to x takes a ninth of the time of torch's."""
    out = x.shape[-1] - PATCH + 1
    return (filters.flatten(1) @ functional.unfold(x, PATCH)).view(len(x), len(filters), out, out)


def _encode(
    encoder: Encoder,
    x: torch.Tensor,
    convolved: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = functional.conv2d,
) -> torch.Tensor:
    """The response of a filter to a normalised patch, (w . p - mean(p) sum(w)) / contrast(p) - w . center, by convolving x."""
    channels, side = x.shape[1], x.shape[3]
    weight = encoder.weight - encoder.weight.mean(0)
    filters = weight.T.reshape(FILTERS, channels, PATCH, PATCH)
    level = x.mean((1, 2, 3), keepdim=True)  # subtracted to avoid cancellation in the squares
    centred = x - level
    line = _windows(side)
    mean = line @ centred.mean(1) @ line.T
    square = line @ centred.square().mean(1) @ line.T
    contrast = torch.rsqrt((square - mean.square()).clamp(min=0) + CONTRAST).unsqueeze(1)
    offset = (encoder.center @ encoder.weight).view(1, -1, 1, 1)
    response = torch.addcmul(-offset, convolved(centred, filters), contrast)
    # max(r, 0) = (|r| + r) / 2 and max(-r, 0) = (|r| - r) / 2
    signed, size = _means(response), _means(response.abs())
    coarse = functional.adaptive_avg_pool2d(x, COARSE).flatten(1)
    return (torch.cat([(size + signed) / 2, (size - signed) / 2, coarse], 1) - encoder.mean) / encoder.scale


def encode(encoder: Encoder, x: torch.Tensor) -> torch.Tensor:
    """Features float32 [n, features] of images [n, c, side, side]; each image's are independent of the others."""

    def some(start: int) -> torch.Tensor:
        with torch.no_grad():
            return _encode(encoder, x[start : start + BATCH])

    return torch.cat(in_threads(some, range(0, len(x), BATCH)))


def encode_with_gradient(encoder: Encoder, x: torch.Tensor) -> torch.Tensor:
    """As `encode` for a few images, differentiable with respect to the images."""
    return _encode(encoder, x, _by_product)
