"""What is done to a network after training: batch-norm statistics re-estimated, and a temperature for its probabilities.

After few steps the running statistics of batch norm are not those of the final weights: networks whose last epoch had a loss of
0.05 tested at 1.9 nats on the training images themselves. So they are computed again from the training images. The loss of a
network that saw few images is mostly overconfidence; one temperature, fitted to images that are neither training nor test images,
takes it away [1]_.

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
    """Set batch norms' running statistics to the mean over batches of the training images uint8 [n, c, h, w]; False without any."""
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
    """float64 [n, classes], in eval mode and float32."""
    net.eval()
    parts = [net(as_input(images[i : i + BATCH], device)).double().cpu() for i in range(0, len(images), BATCH)]
    return torch.cat(parts).numpy()


def fit_temperature(logits: np.ndarray, y: np.ndarray) -> float:
    """The temperature T that makes the mean cross-entropy of logits / T least."""
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
    """Errors of the test images, the temperature by the images held back (at least 1), and the test loss under it.

    A temperature below 1 is taken as 1: where few images held back hold no error it would fall to where one test error costs 20 nats.
    NaN where no image was left to hold back.
    """
    logits, y = logits_of(net, test[0], device), test[1].numpy()
    wrong = int((logits.argmax(1) != y).sum())
    told = {"errors": float(wrong), "test_error": wrong / len(y)}
    if not len(hold[1]):
        return told | {"temperature": float("nan"), "test_loss_scaled": float("nan")}
    temperature = max(1.0, fit_temperature(logits_of(net, hold[0], device), hold[1].numpy()))
    return told | {"temperature": temperature, "test_loss_scaled": mean_loss(logits / temperature, y)}
