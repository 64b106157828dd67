"""Post-training steps: re-estimation of batch-norm statistics, and temperature scaling.

After few steps the running statistics of batch norm lag behind the final weights: networks with a loss of 0.05 in the last epoch had
1.9 nats in eval mode on the same training images. So the statistics are recomputed from the training images. The test loss of a
network trained on few images is mostly overconfidence, which temperature scaling on held-out validation images removes [1]_.

References
----------
.. [1] C. Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from dataprops.experiment.training import as_input
from dataprops.laws.fitting.table import CONVERGED

__all__ = ["CONVERGED", "fit_temperature", "logits_of", "mean_loss", "reestimate_batch_norm", "scaled_columns"]

BATCH = 256
COLDEST, HOTTEST = 0.05, 100.0


@torch.no_grad()
def reestimate_batch_norm(net: nn.Module, images: torch.Tensor, device: str = "cpu") -> bool:
    """Recompute batch-norm statistics as the mean over batches of the images uint8 [n, c, h, w]; False if there is no batch norm."""
    norms = [module for module in net.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return False
    momenta = [norm.momentum for norm in norms]
    others = [module for module in net.modules() if isinstance(module, nn.modules.dropout._DropoutNd)]
    net.train()
    for module in others:
        module.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over batches
    for part in torch.tensor_split(torch.arange(len(images)), max(1, -(-len(images) // BATCH))):
        if len(part) > 1:
            net(as_input(images[part], device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    net.eval()
    return True


@torch.no_grad()
def logits_of(net: nn.Module, images: torch.Tensor, device: str = "cpu") -> np.ndarray:
    """Logits float64 [n, classes], computed in eval mode and float32."""
    net.eval()
    parts = [net(as_input(images[i : i + BATCH], device)).double().cpu() for i in range(0, len(images), BATCH)]
    return torch.cat(parts).numpy()


def fit_temperature(logits: np.ndarray, y: np.ndarray) -> float:
    """The temperature T that minimises the mean cross-entropy of logits / T."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda log_t: mean_loss(logits / np.exp(log_t), y),
        bounds=(np.log(COLDEST), np.log(HOTTEST)),
        method="bounded",
    )
    return float(np.exp(found.x))


def mean_loss(logits: np.ndarray, y: np.ndarray) -> float:
    """Mean cross-entropy, nats."""
    shifted = logits - logits.max(1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return -float(logs[np.arange(len(y)), y].mean())


def scaled_columns(
    net: nn.Module,
    test: tuple[torch.Tensor, torch.Tensor],
    hold: tuple[torch.Tensor, torch.Tensor],
    device: str = "cpu",
) -> dict[str, float]:
    """Test error, the temperature (>= 1) fitted to the validation images, and the test loss under it.

    A temperature below 1 is raised to 1: with few validation images and no error it would fall so far that one test error costs 20
    nats. NaN if there are no validation images.
    """
    logits, y = logits_of(net, test[0], device), test[1].numpy()
    wrong = int((logits.argmax(1) != y).sum())
    told = {"errors": float(wrong), "test_error": wrong / len(y)}
    if not len(hold[1]):
        return told | {"temperature": float("nan"), "test_loss_scaled": float("nan")}
    temperature = max(1.0, fit_temperature(logits_of(net, hold[0], device), hold[1].numpy()))
    return told | {"temperature": temperature, "test_loss_scaled": mean_loss(logits / temperature, y)}
