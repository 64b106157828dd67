"""Attacks against the closed forms of a linear model, and on a network that is none."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from dataprops.experiment.attacks import fgsm_results, flip_distance, pgd, pgd_result


def logistic(features: int = 12, seed: int = 0) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """Two classes, logits (0, w x + b); w = difference of the rows."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Flatten(), nn.Linear(features, 2)).double()
    x = torch.rand(40, 1, 3, 4, dtype=torch.float64) * 0.2 + 0.4
    return net, x, torch.randint(0, 2, (40,))


def margin(net: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    layer = net[1]
    w, b = layer.weight[1] - layer.weight[0], layer.bias[1] - layer.bias[0]
    return (x.flatten(1) @ w + b).detach(), w.detach()


def test_fgsm_on_a_linear_model_is_the_worst_there_is():
    """The loss log(1 + exp(-s m)) at the worst point of the cube has margin s m - eps |w|_1."""
    net, x, y = logistic()
    m, w = margin(net, x)
    s, eps = 2.0 * y - 1, 0.03
    worst = functional.softplus(-(s * m - eps * w.abs().sum()))
    clean, attacked = fgsm_results(net, x, y, [0.0, eps])
    assert attacked.loss == pytest.approx(float(worst.mean()))
    assert clean.loss == pytest.approx(float(functional.softplus(-s * m).mean()))
    assert attacked.accuracy == pytest.approx(float((s * m > eps * w.abs().sum()).double().mean()))
    assert pgd_result(net, x, y, eps).loss == pytest.approx(float(worst.mean()))


def test_the_smallest_flipping_eps_of_a_linear_model_is_the_margin_over_the_l1_norm():
    net, x, _ = logistic()
    m, w = margin(net, x)
    exact = m.abs() / w.abs().sum()
    found = flip_distance(net, x, halvings=30, low=-100.0, high=100.0)
    assert torch.allclose(found, exact, rtol=1e-6, atol=1e-9)
    rough = flip_distance(net, x, low=-100.0, high=100.0)
    assert ((rough - exact).abs() <= exact / 64 + 1 / 4096).all()


def test_what_no_eps_changes_is_infinite():
    net, x, _ = logistic()
    with torch.no_grad():
        net[1].bias[1] += 1e6
    assert torch.isinf(flip_distance(net, x)).all()


def test_attacks_stay_in_the_cube_and_the_range_and_more_steps_are_not_weaker():
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(1, 6, 3), nn.Tanh(), nn.Flatten(), nn.Linear(96, 3))
    x, y = torch.rand(30, 1, 6, 6), torch.randint(0, 3, (30,))
    eps = 0.1
    many = pgd(net, x, y, eps)
    assert float((many - x).abs().max()) <= eps + 1e-6
    assert float(many.min()) >= 0
    assert float(many.max()) <= 1

    def losses(images: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(net(images), y, reduction="none").detach()

    assert (losses(many) >= losses(x) - 1e-6).all()
    (one,) = fgsm_results(net, x, y, [eps])
    assert float(losses(many).mean()) > one.loss
    assert all(parameter.requires_grad for parameter in net.parameters())
