"""Adversarial robustness of the probe: input gradient, FGSM, and the smallest step that changes the prediction.

Images and eps are in grey levels of the probe's 32 x 32 images. Each image is attacked with a fit that was not trained on it.
FGSM is x + eps sign(d loss / d x), clipped to 0..255 (Goodfellow et al. 2015).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from dataprops.probe.features import Encoder, encode_with_gradient
from dataprops.probe.threads import in_threads

EPS = 2.0
BATCH = 8  # images whose responses and gradients fit into a core's cache
RUNGS = (0.5, 1.0, 2.0, 4.0, 16.0)  # times the step at which a linear classifier of this gradient would flip


class Attack(NamedTuple):
    """Results for each attacked image, float64 [n].

    Attributes
    ----------
    gradient : float
        L1 norm of d loss / d image, nats per grey level.
    penalty : float
        Increase in log loss under FGSM with eps = 2 grey levels, nats.
    flip : float
        Smallest eps along the FGSM direction that changes the prediction, grey levels; at most 255.
    """

    gradient: np.ndarray
    penalty: np.ndarray
    flip: np.ndarray


class Linear(NamedTuple):
    """logits = z @ weight + offset for standardised features z; float32 [features, classes], [classes]."""

    weight: torch.Tensor
    offset: torch.Tensor


def attack(encoder: Encoder, heads: list[Linear], head: np.ndarray, x: torch.Tensor, y: np.ndarray) -> Attack:
    """Attack images x float32 [n, c, side, side] of classes y int64 [n], each with the head (int64 [n]) of its fold."""
    pieces = []
    for number, linear in enumerate(heads):
        of = np.nonzero(head == number)[0]
        pieces += [(linear, of[start : start + BATCH]) for start in range(0, len(of), BATCH)]

    def some(piece: tuple[Linear, np.ndarray]) -> np.ndarray:
        linear, part = piece
        return _batch(encoder, linear, x[part], torch.from_numpy(y[part]))

    out = np.empty((3, len(x)))
    for (_, part), numbers in zip(pieces, in_threads(some, pieces), strict=True):
        out[:, part] = numbers
    return Attack(*out)


def _logits(encoder: Encoder, linear: Linear, x: torch.Tensor) -> torch.Tensor:
    return encode_with_gradient(encoder, x) @ linear.weight + linear.offset


def _batch(encoder: Encoder, linear: Linear, x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    x = x.clone().requires_grad_()
    logits = _logits(encoder, linear, x)
    losses = functional.cross_entropy(logits, y, reduction="none")
    predicted = logits.argmax(1)
    margin = _margin(logits, predicted)
    (gradient,) = torch.autograd.grad(losses.sum(), x, retain_graph=True)
    (away,) = torch.autograd.grad(margin.sum(), x)
    with torch.no_grad():
        x = x.detach()
        moved = (x + EPS * gradient.sign()).clamp(0, 255)
        penalty = functional.cross_entropy(_logits(encoder, linear, moved), y, reduction="none") - losses
        guess = margin / away.abs().sum((1, 2, 3)).clamp(min=1e-12)
        flip = _flip(encoder, linear, x, predicted, -away.sign(), margin, guess)
    norm = gradient.abs().sum((1, 2, 3))
    return torch.stack([norm, penalty, flip]).double().numpy()


def _flip(
    encoder: Encoder,
    linear: Linear,
    x: torch.Tensor,
    predicted: torch.Tensor,
    sign: torch.Tensor,
    start: torch.Tensor,
    guess: torch.Tensor,
) -> torch.Tensor:
    """Eps at which the margin crosses 0, linearly interpolated between two rungs; 255 if no rung changes the prediction."""
    found = torch.full_like(guess, 255.0)
    low = torch.zeros_like(guess)
    left = torch.arange(len(x))  # images whose prediction no rung has changed yet
    for rung in RUNGS:
        high = (guess[left] * rung).clamp(max=255)
        logits = _logits(encoder, linear, (x[left] + high.view(-1, 1, 1, 1) * sign[left]).clamp(0, 255))
        margin = _margin(logits, predicted[left])
        share = (start / (start - margin).clamp(min=1e-12)).clamp(0, 1)
        hit = margin <= 0
        found[left[hit]] = (low + share * (high - low))[hit]
        left, start, low = left[~hit], margin[~hit], high[~hit]
        if not len(left):
            break
    return found


def _margin(logits: torch.Tensor, predicted: torch.Tensor) -> torch.Tensor:
    own = functional.one_hot(predicted, logits.shape[1]).bool()
    return logits[own] - logits.masked_fill(own, -torch.inf).max(1).values
