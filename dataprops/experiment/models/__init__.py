"""The networks of the experiments: a table, and any `torch.nn.Module` by import path.

Weights are random, from torch's global generator.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import NamedTuple

from torch import nn

from dataprops.errors import DatapropsError
from dataprops.experiment.models.resnet import BasicBlock, Bottleneck, resnet
from dataprops.experiment.models.small import cnn4, mlp
from dataprops.experiment.models.vgg import SHRINK, vgg
from dataprops.probe.activations import imported


class Model(NamedTuple):
    """A row of `MODELS`.

    Attributes
    ----------
    build : callable
        build(channels=, classes=, size=) -> nn.Module with random weights.
    lr : float
        Learning rate, from the paper.
    batch : int
        Batch size, from the paper.
    layers : tuple of str
        Layers whose dimension is measured, in execution order; () = determined from the module.
    last : str
        The last hidden layer as in the paper's code: `layer4` of a ResNet, the second linear layer of a VGG.
    least : int
        Minimum side of an image, pixels.
    """

    build: Callable[..., nn.Module]
    lr: float
    batch: int
    layers: tuple[str, ...] = ()
    last: str = ""
    least: int = 1


def _pools(*counts: int) -> tuple[str, ...]:
    """Names of the pooling layers at the end of each VGG stage, and of the two hidden linear layers."""
    ends, at = [], -1
    for count in counts:
        at += 2 * count + 1
        ends.append(f"features.{at}")
    return (*ends, "classifier.0", "classifier.3")


_LAYERS = ("layer1", "layer2", "layer3", "layer4")

MODELS: dict[str, Model] = {
    "resnet18": Model(resnet(BasicBlock, (2, 2, 2, 2)), 1e-3, 40, _LAYERS, "layer4"),
    "resnet34": Model(resnet(BasicBlock, (3, 4, 6, 3)), 1e-3, 25, _LAYERS, "layer4"),
    "resnet50": Model(resnet(Bottleneck, (3, 4, 6, 3)), 1e-3, 12, _LAYERS, "layer4"),
    "vgg13": Model(vgg(2, 2, 2, 2, 2), 1e-4, 6, _pools(2, 2, 2, 2, 2), "classifier.3", SHRINK),
    "vgg16": Model(vgg(2, 2, 3, 3, 3), 1e-4, 6, _pools(2, 2, 3, 3, 3), "classifier.3", SHRINK),
    "vgg19": Model(vgg(2, 2, 4, 4, 4), 1e-4, 6, _pools(2, 2, 4, 4, 4), "classifier.3", SHRINK),
    "cnn4": Model(cnn4, 1e-3, 32, ("2", "5", "8", "11"), "11", 16),
    "mlp": Model(mlp, 1e-3, 32, ("2", "4"), "4"),
}
OWN = Model(nn.Identity, 1e-3, 40)  # defaults for networks by import path


def find_model(name: str) -> Model:
    """A row of the table, or one for ``module:Name``, which imports that module and so runs the user's code.

    The class (or function) is called with the keywords channels and classes, and size if it accepts it.

    Raises
    ------
    DatapropsError
        If the network is unknown.

    >>> find_model("resnet18").batch
    40
    """
    if name in MODELS:
        return MODELS[name]
    if ":" not in name:
        raise DatapropsError(f"unknown model {name!r}: models are {', '.join(MODELS)}, or your own as module:Name")
    build = imported(name)
    if not callable(build):
        raise DatapropsError(f"the model {name!r} is not a class or function: give one that returns a torch.nn.Module")
    takes = inspect.signature(build).parameters
    sized = "size" in takes or any(p.kind is p.VAR_KEYWORD for p in takes.values())

    def call(channels: int = 3, classes: int = 1000, size: int = 224) -> nn.Module:
        made = build(channels=channels, classes=classes, **({"size": size} if sized else {}))
        if not isinstance(made, nn.Module):
            raise DatapropsError(f"the model {name!r} returned a {type(made).__name__}; expected a torch.nn.Module")
        return made

    return OWN._replace(build=call)


def check_model(name: str, size: int) -> None:
    """Check that a network exists and accepts images of this size.

    Raises
    ------
    DatapropsError
        Names the network.
    """
    least = find_model(name).least
    if size < least:
        raise DatapropsError(f"{name} needs images of at least {least} pixels, size is {size}")
