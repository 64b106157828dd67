"""Activations of a network's layers, by forward hooks in eval mode and without gradients.

Networks are the project's own (experiments) or the user's, loaded by import path (`load_network`).
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import nn

from dataprops.errors import DatapropsError

BATCH = 32

Take = Callable[[str, torch.Tensor], None]


def as_input(images: torch.Tensor, device: str) -> torch.Tensor:
    """uint8 [n, c, h, w] -> float32 in [0, 1] on the device, in channels-last memory format."""
    x = images.to(device).to(torch.float32) / 255
    return x.to(memory_format=torch.channels_last)


def hidden_layers(net: nn.Module, x: torch.Tensor) -> tuple[str, ...]:
    """Names of the linear and convolutional modules in execution order for `x`, without the last one (the logits)."""
    return _in_order(net, x)[:-1]


def _in_order(net: nn.Module, x: torch.Tensor) -> tuple[str, ...]:
    names: list[str] = []
    with ExitStack() as hooks:
        for name, module in net.named_modules():
            if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
                handle = module.register_forward_hook(lambda *_, name=name: names.append(name))
                hooks.callback(handle.remove)
        net.eval()
        with torch.no_grad():
            net(x)
    return tuple(dict.fromkeys(names))


def flat_vectors(output: object, pooled: bool, name: str) -> torch.Tensor:
    """A layer's output as float32 [n, features]; `pooled`: feature maps are averaged over positions."""
    if not isinstance(output, torch.Tensor) or output.dim() < 2:
        raise ValueError(f"the output of layer {name!r} is not a tensor with one row per image")
    if pooled and output.dim() > 2:
        output = output.flatten(2).mean(2)
    return output.flatten(1).to(torch.float32)


def forward(net: nn.Module, layers: Sequence[str], x: torch.Tensor, pooled: bool, take: Take) -> None:
    """One forward pass; `take` is called with the name and the vectors of each layer."""
    with ExitStack() as hooks:
        for name in layers:
            handle = net.get_submodule(name).register_forward_hook(
                lambda module, given, output, name=name: take(name, flat_vectors(output, pooled, name))
            )
            hooks.callback(handle.remove)
        net.eval()
        with torch.no_grad():
            net(x)


def imported(name: str) -> Any:
    """Import the object ``module:Name``; this runs the user's own code.

    Raises
    ------
    DatapropsError
        If it cannot be imported.
    """
    module_name, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise DatapropsError(f"the model {name!r} cannot be imported: {error}") from error


def load_network(name: str, *, channels: int, classes: int, size: int) -> tuple[nn.Module, str]:
    """Load the user's network ``module:Name`` or ``module:Name@layer``; returns it and the layer ("" if none is named).

    Name is a `torch.nn.Module`, or a class or function that returns one; a callable is passed those of the keywords channels,
    classes and size that it accepts. Loading weights is up to it.

    Raises
    ------
    DatapropsError
        If it cannot be imported, or does not give a `torch.nn.Module`.
    """
    place, _, layer = name.partition("@")
    if ":" not in place:
        raise DatapropsError(f"model is {name!r}; expected module:Name, or module:Name@layer")
    made = imported(place)
    if not isinstance(made, nn.Module):
        if not callable(made):
            raise DatapropsError(
                f"the model {name!r} must be a torch.nn.Module, or a class or function that returns one"
            )
        wanted = inspect.signature(made).parameters
        everything = any(p.kind is p.VAR_KEYWORD for p in wanted.values())
        given = {"channels": channels, "classes": classes, "size": size}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # makes untrained weights reproducible
            made = made(**{key: value for key, value in given.items() if everything or key in wanted})
    if not isinstance(made, nn.Module):
        raise DatapropsError(f"the model {name!r} returned a {type(made).__name__}; expected a torch.nn.Module")
    if layer and layer not in dict(made.named_modules()):
        raise DatapropsError(f"the model {place!r} has no layer {layer!r}; its layers are {_some_layers(made)}")
    return made, layer


def _some_layers(net: nn.Module) -> str:
    names = [name for name, _ in net.named_modules() if name]
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")


def embed(net: nn.Module, layer: str, name: str, blocks: Iterable[np.ndarray]) -> np.ndarray:
    """Embed images with a network: float32 [n, features].

    Parameters
    ----------
    net : nn.Module
    layer : str
        Layer whose output is used, averaged over positions; "": the input of the last linear layer, or the network's output if it
        has none.
    name : str
        Name of the network in messages.
    blocks : iterable of uint8 [b, h, w, c]

    Raises
    ------
    DatapropsError
        If the network does not accept these images, or does not give one finite vector for each.
    """
    parts: list[np.ndarray] = []
    net = net.cpu()
    for block in blocks:
        images = torch.from_numpy(np.array(block)).permute(0, 3, 1, 2)
        for start in range(0, len(images), BATCH):
            part = images[start : start + BATCH]
            try:
                vectors = _embed(net, layer, as_input(part, "cpu"))
            except (RuntimeError, ValueError, TypeError) as error:
                shape = " x ".join(str(side) for side in part.shape[1:])
                raise DatapropsError(
                    f"the model {name!r} cannot take images of {shape} (channels, height, width): {error}"
                    " (--channels and --size change the images)"
                ) from error
            if len(vectors) != len(part):
                raise DatapropsError(f"the model {name!r} gives {len(vectors)} vectors for {len(part)} images")
            if not np.isfinite(vectors).all():
                raise DatapropsError(f"the model {name!r} gives NaN or infinite values")
            parts.append(vectors)
    return np.concatenate(parts)


def _embed(net: nn.Module, layer: str, x: torch.Tensor) -> np.ndarray:
    found: list[torch.Tensor] = []
    net.eval()
    if layer:
        forward(net, [layer], x, True, lambda _, vectors: found.append(vectors))
    else:
        linear = [module for module in net.modules() if isinstance(module, nn.Linear)]
        entered: list[torch.Tensor] = []
        with ExitStack() as hooks, torch.no_grad():
            for module in linear:
                handle = module.register_forward_pre_hook(lambda _, given: entered.append(given[0]))
                hooks.callback(handle.remove)
            output = net(x)
        found.append(flat_vectors(entered[-1] if entered else output, True, "output"))
    return found[-1].cpu().numpy()
