"""Adversarial attacks on a trained network, with an L-infinity bound eps.

- FGSM (Goodfellow et al. 2015): x + eps sign(d loss / d x), clipped to the range; the optimal attack on a linear model.
- PGD (Madry et al. 2018): ten such steps of 2.5 eps / 10, each projected onto the L-infinity ball of radius eps around x; the iterate
  with the largest loss counts, so that more steps never weaken it.
- `flip_distance`: the smallest eps at which the predicted class changes along the FGSM direction, the R of the robustness law.
Doubling
  steps bracket it, bisection refines it. An earlier change within a bracket can be missed.

All in eval mode and float32. eps has the unit of the images; for images in [0, 1] one grey level is 1/255.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

BATCH = 64
PGD_STEPS = 10
LADDER = (*(2.0**power for power in range(-4, 8)), 255.0)  # grey levels
HALVINGS = 6  # relative precision 1/128


class Attacked(NamedTuple):
    """Mean loss (nats) and accuracy under an attack."""

    loss: float
    accuracy: float


@contextlib.contextmanager
def frozen(net: nn.Module) -> Iterator[None]:
    """Eval mode without gradients of the weights, since attacks need only those of the images."""
    wanted = [parameter.requires_grad for parameter in net.parameters()]
    net.eval().requires_grad_(False)
    try:
        yield
    finally:
        for parameter, want in zip(net.parameters(), wanted, strict=True):
            parameter.requires_grad_(want)


def _slope(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sign of the gradient of the loss with respect to the images, and the loss of each image."""
    x = x.detach().requires_grad_()
    losses = functional.cross_entropy(net(x), y, reduction="none")
    (gradient,) = torch.autograd.grad(losses.sum(), x)
    return gradient.sign(), losses.detach()


def pgd(net: nn.Module, x: torch.Tensor, y: torch.Tensor, eps: float) -> torch.Tensor:
    """The attacked images, as x: the iterates with the largest loss."""
    best, worst = x.clone(), torch.full((len(x),), -torch.inf, device=x.device, dtype=x.dtype)
    at = x

    def keep(losses: torch.Tensor) -> None:
        better = losses > worst
        best[better], worst[better] = at[better], losses[better]

    with frozen(net):
        for _ in range(PGD_STEPS):
            sign, losses = _slope(net, at, y)
            keep(losses)
            moved = at + (2.5 * eps / PGD_STEPS) * sign
            at = torch.clamp(torch.minimum(torch.maximum(moved, x - eps), x + eps), 0, 1)
        with torch.no_grad():
            keep(functional.cross_entropy(net(at), y, reduction="none"))
    return best


@torch.no_grad()
def _score(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> tuple[float, int]:
    logits = net(x).double()
    return float(functional.cross_entropy(logits, y, reduction="sum")), int((logits.argmax(1) == y).sum())


def fgsm_results(net: nn.Module, x: torch.Tensor, y: torch.Tensor, eps: list[float]) -> list[Attacked]:
    """Results under FGSM for each eps (0: clean); the gradient is computed once."""
    sums = [[0.0, 0] for _ in eps]
    with frozen(net):
        for start in range(0, len(x), BATCH):
            part, target = x[start : start + BATCH], y[start : start + BATCH]
            sign, _ = _slope(net, part, target)
            for total, size in zip(sums, eps, strict=True):
                loss, right = _score(net, (part + size * sign).clamp(0, 1), target)
                total[0] += loss
                total[1] += right
    return [Attacked(loss / len(x), right / len(x)) for loss, right in sums]


def pgd_result(net: nn.Module, x: torch.Tensor, y: torch.Tensor, eps: float) -> Attacked:
    """Result under PGD."""
    loss, right = 0.0, 0
    with frozen(net):
        for start in range(0, len(x), BATCH):
            part, target = x[start : start + BATCH], y[start : start + BATCH]
            one, hits = _score(net, pgd(net, part, target, eps), target)
            loss, right = loss + one, right + hits
    return Attacked(loss / len(x), right / len(x))


def flip_distance(
    net: nn.Module,
    x: torch.Tensor,
    *,
    halvings: int = HALVINGS,
    low: float = 0.0,
    high: float = 1.0,
) -> torch.Tensor:
    """The eps at which the predicted class of each image changes, float64 [n]; infinite if no eps of `LADDER` changes it."""
    found = []
    with frozen(net), torch.no_grad():
        for start in range(0, len(x), BATCH):
            part = x[start : start + BATCH]
            found.append(_flip(net, part, halvings, low, high))
    return torch.cat(found) if found else torch.empty(0, dtype=torch.float64)


def _flip(net: nn.Module, x: torch.Tensor, halvings: int, low: float, high: float) -> torch.Tensor:
    predicted = net(x).argmax(1)
    with torch.enable_grad():
        sign, _ = _slope(net, x, predicted)

    def flipped(which: torch.Tensor, eps: torch.Tensor) -> torch.Tensor:
        step = eps.to(x.dtype).view(-1, *[1] * (x.dim() - 1))
        return net((x[which] + step * sign[which]).clamp(low, high)).argmax(1) != predicted[which]

    n = len(x)
    below = torch.zeros(n, dtype=torch.float64, device=x.device)
    above = torch.full((n,), torch.inf, dtype=torch.float64, device=x.device)
    open_ = torch.arange(n, device=x.device)
    for rung in (rung / 255 for rung in LADDER):
        if not len(open_):
            break
        hit = flipped(open_, torch.full((len(open_),), rung, dtype=torch.float64, device=x.device))
        above[open_[hit]] = rung
        below[open_[~hit]] = rung
        open_ = open_[~hit]
    bracketed = torch.nonzero(torch.isfinite(above))[:, 0]
    for _ in range(halvings if len(bracketed) else 0):
        middle = (below[bracketed] + above[bracketed]) / 2
        hit = flipped(bracketed, middle)
        above[bracketed[hit]] = middle[hit]
        below[bracketed[~hit]] = middle[~hit]
    return (below + above).div(2).where(torch.isfinite(above), above).cpu()
