"""Train one network: Adam on cross-entropy, seeded, with checkpoints between epochs.

Images are scaled to x / 255. The order of an epoch depends only on seed and epoch, and checkpoints contain the state of torch's
generator (used by dropout), so that a resumed run gives bit-identical weights on a CPU with the same number of threads. On a GPU two
runs may diverge from rounding differences: cuDNN's convolutions are set to deterministic, but backward passes of pooling layers may
add in any order. Batches of an epoch are of nearly equal size, to avoid a last batch of one image, which batch norm cannot handle.

On a GPU training uses mixed precision: float16 where autocast allows it, weights and Adam in float32, with dynamic loss scaling
(`GradScaler`, whose state is in the checkpoint). Evaluation, attacks and representations are in float32 everywhere, without TF32.

Torch's generator is global, so each process trains one network at a time.
"""

from __future__ import annotations

import contextlib
import logging
import math
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from dataprops.experiment.models import find_model
from dataprops.probe.activations import as_input
from dataprops.util.files import write_aside

log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 60.0
EVALUATION_BATCH = 64
# device -> dtype of mixed-precision training, if any
MIXED: dict[str, torch.dtype] = {"cuda": torch.float16}
_ALONE = threading.RLock()


class Diverged(Exception):
    """The loss became NaN or infinite; the message says when."""


@dataclass(frozen=True)
class Recipe:
    """How one network is trained: model, input and output shape, optimiser settings."""

    model: str
    channels: int
    classes: int
    size: int
    lr: float
    batch: int
    epochs: int
    weight_decay: float = 1e-4
    patience: int | None = None
    seed: int = 0
    device: str = "cpu"
    threads: int = 1


class Trained(NamedTuple):
    """A trained network, and the mean training loss of each epoch (nats)."""

    net: nn.Module
    losses: list[float]


@contextlib.contextmanager
def isolated_torch_state(threads: int) -> Iterator[None]:
    """Isolates torch's global state (generators, threads, switches) and restores it."""
    cudnn = torch.backends.cudnn
    with _ALONE:
        before, state = torch.get_num_threads(), torch.get_rng_state()
        states = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        switches = cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32
        torch.set_num_threads(threads)
        cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32 = True, False, False
        try:
            yield
        finally:
            torch.set_num_threads(before)
            torch.set_rng_state(state)
            if states:
                torch.cuda.set_rng_state_all(states)
            cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32 = switches


def batches(n: int, batch: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The image order of an epoch, divided into ceil(n / batch) batches of nearly equal size."""
    order = np.random.default_rng([seed, epoch]).permutation(n)
    return np.array_split(order, math.ceil(n / batch))


def build(recipe: Recipe) -> nn.Module:
    """The network with the random weights of its seed; call within `isolated_torch_state`."""
    torch.manual_seed(recipe.seed)
    net = find_model(recipe.model).build(channels=recipe.channels, classes=recipe.classes, size=recipe.size)
    return net.to(recipe.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def fit(
    recipe: Recipe,
    images: torch.Tensor,
    y: torch.Tensor,
    *,
    checkpoint: Path | None = None,
    every: float = CHECKPOINT_SECONDS,
    on_epoch: Callable[[int, float], None] | None = None,
) -> Trained:
    """Train a network.

    Parameters
    ----------
    images : uint8 [n, c, h, w]
    y : int64 [n]
    checkpoint : Path, optional
        File to resume from if it exists, and to write; removed by the caller.
    every : float
        Seconds between checkpoints; the last epoch always writes one if any was due.
    on_epoch : callable, optional
        Called with the number of finished epochs and the mean loss of the last one.

    Raises
    ------
    Diverged
        If the loss becomes infinite or NaN.
    """
    with isolated_torch_state(recipe.threads):
        net = build(recipe)
        adam = torch.optim.Adam(net.parameters(), recipe.lr, weight_decay=recipe.weight_decay, fused=True)
        scaler = torch.amp.GradScaler(recipe.device, enabled=recipe.device in MIXED)
        losses = _resume(checkpoint, recipe, net, adam, scaler)
        saved = time.monotonic()
        y = y.to(recipe.device)
        while len(losses) < recipe.epochs and not _stalled(losses, recipe.patience):
            epoch = len(losses)
            loss = _epoch(net, adam, scaler, recipe, images, y, epoch)
            if not math.isfinite(loss):
                raise Diverged(
                    f"diverged: the training loss is {loss} in epoch {epoch + 1} (learning rate {recipe.lr:g})"
                )
            losses.append(loss)
            if checkpoint is not None and time.monotonic() - saved >= every:
                _save(checkpoint, recipe, net, adam, scaler, losses)
                saved = time.monotonic()
            if on_epoch:
                on_epoch(len(losses), loss)
        net.eval()
        return Trained(net, losses)


def _epoch(
    net: nn.Module,
    adam: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    recipe: Recipe,
    images: torch.Tensor,
    y: torch.Tensor,
    epoch: int,
) -> float:
    """Train one epoch; returns the mean loss over its images, at the weights of each batch."""
    net.train()
    total = torch.zeros((), dtype=torch.float64, device=recipe.device)
    for part in batches(len(images), recipe.batch, recipe.seed, epoch):
        index = torch.from_numpy(part)
        adam.zero_grad(set_to_none=True)
        with torch.autocast(recipe.device, dtype=MIXED.get(recipe.device), enabled=recipe.device in MIXED):
            loss = functional.cross_entropy(net(as_input(images[index], recipe.device)), y[index.to(y.device)])
        scaler.scale(loss).backward()
        scaler.step(adam)
        scaler.update()
        total += loss.detach().double() * len(part)
    return float(total) / len(images)


def _stalled(losses: list[float], patience: int | None) -> bool:
    return patience is not None and len(losses) > patience and min(losses[-patience:]) >= min(losses[:-patience])


def _save(
    path: Path,
    recipe: Recipe,
    net: nn.Module,
    adam: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    losses: list[float],
) -> None:
    random = {"cpu": torch.get_rng_state()}
    if recipe.device == "cuda":
        random["cuda"] = torch.cuda.get_rng_state()
    state = {
        "recipe": repr(recipe),
        "net": net.state_dict(),
        "adam": adam.state_dict(),
        "scaler": scaler.state_dict(),
        "random": random,
        "losses": losses,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_aside(path, lambda aside: torch.save(state, aside))


def _resume(
    path: Path | None,
    recipe: Recipe,
    net: nn.Module,
    adam: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> list[float]:
    """Load a checkpoint of this recipe; returns the losses so far, [] without one."""
    if path is None or not path.is_file():
        return []
    try:
        # weights_only: tensors and numbers only, no code
        state = torch.load(path, map_location=recipe.device, weights_only=True)
        if state["recipe"] != repr(recipe):
            raise ValueError("it belongs to another recipe")
        scale, random, losses = state["scaler"], state["random"], list(state["losses"])
        net.load_state_dict(state["net"])
        adam.load_state_dict(state["adam"])
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        log.warning("the checkpoint %s cannot be used (%s): training restarts", path.name, str(error).split("\n")[0])
        net.load_state_dict(build(recipe).state_dict())
        return []
    scaler.load_state_dict(scale)
    torch.set_rng_state(random["cpu"].cpu())
    if recipe.device == "cuda":
        torch.cuda.set_rng_state(random["cuda"].cpu())
    return losses


@torch.no_grad()
def evaluate(net: nn.Module, images: torch.Tensor, y: torch.Tensor, device: str = "cpu") -> tuple[float, float]:
    """Mean cross-entropy (nats) and accuracy, in eval mode and float32."""
    net.eval()
    loss, right = 0.0, 0
    for start in range(0, len(images), EVALUATION_BATCH):
        part = slice(start, start + EVALUATION_BATCH)
        logits = net(as_input(images[part], device)).double()
        target = y[part].to(device)
        loss += float(functional.cross_entropy(logits, target, reduction="sum"))
        right += int((logits.argmax(1) == target).sum())
    return loss / len(images), right / len(images)
