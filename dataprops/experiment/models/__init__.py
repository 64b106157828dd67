"""The networks of the experiments: a table, and any `torch.nn.Module` beside it by import path.

Weights are random; the state of torch's generator decides them.
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
        Learning rate of the paper.
    batch : int
        Batch of the paper.
    layers : tuple of str
        Outputs of blocks whose dimension is measured, in the order of the forward pass; () = found in the module.
    last : str
        The last hidden layer, as the paper's code takes it: `layer4` of a ResNet, the second linear layer of a VGG.
    least : int
        Smallest side of an image, pixels.
    """

    build: Callable[..., nn.Module]
    lr: float
    batch: int
    layers: tuple[str, ...] = ()
    last: str = ""
    least: int = 1


def _pools(*counts: int) -> tuple[str, ...]:
    """Names of the poolings that end the stages of a VGG, and of its two hidden linear layers."""
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
OWN = Model(nn.Identity, 1e-3, 40)  # learning rate and batch of a network by import path


def find_model(name: str) -> Model:
    """A row of the table, or one made for ``module:Name``, which imports that module: the user's own code runs.

    The class (or function) is called with the keywords channels and classes, and size if it takes it.

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
            raise DatapropsError(f"the model {name!r} made a {type(made).__name__}; expected a torch.nn.Module")
        return made

    return OWN._replace(build=call)


def check_model(name: str, size: int) -> None:
    """Refuse a network that there is not, or that cannot take images of this side.

    Raises
    ------
    DatapropsError
        Naming it.
    """
    least = find_model(name).least
    if size < least:
        raise DatapropsError(f"{name} needs images of {least} pixels at least, size is {size}")
