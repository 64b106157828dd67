"""VGG-13, -16 and -19 without batch norm (Simonyan & Zisserman 2015), with the parameter names and shapes of torchvision.

Five pooling layers downsample by 32. Torchvision then pools adaptively to 7 x 7; for images below 64 pixels that repeats a single
position 49 times before a layer of 103 million weights. Here such images use the single position directly: the network represents the
same functions (a sum of 49 weights per input is one weight) with 101 million weights fewer. The first linear layer is initialised with
7 times the standard deviation, that of a sum of 49 weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

STAGES = (64, 128, 256, 512, 512)
HIDDEN = 4096
GRID = 7  # positions along a side after torchvision's pooling
SHRINK = 32


def sides(size: int) -> int:
    """Positions along a side at the classifier: 7, or 1 if pooling would only repeat one position."""
    return 1 if size < 2 * SHRINK else GRID


class VGG(nn.Module):
    """Stages of 3 x 3 convolutions, each followed by pooling; three linear layers.

    Parameters
    ----------
    counts : sequence of 5 int
        Convolutions of each stage.
    channels, classes : int
    size : int
        Side of the images, pixels; at least 32.
    """

    def __init__(self, counts: Sequence[int], channels: int, classes: int, size: int):
        super().__init__()
        layers: list[nn.Module] = []
        inputs = channels
        for width, count in zip(STAGES, counts, strict=True):
            for _ in range(count):
                layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
                inputs = width
            layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        grid = sides(size)
        self.avgpool = nn.AdaptiveAvgPool2d(grid)
        first = nn.Linear(inputs * grid * grid, HIDDEN)
        self.classifier = nn.Sequential(
            *(first, nn.ReLU(), nn.Dropout()),
            *(nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Dropout()),
            nn.Linear(HIDDEN, classes),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)
        if grid == 1:
            with torch.no_grad():
                first.weight.mul_(GRID)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def vgg(*counts: int) -> Callable[..., VGG]:
    """A builder: build(channels=, classes=, size=) -> VGG."""

    def build(channels: int = 3, classes: int = 1000, size: int = 224) -> VGG:
        return VGG(counts, channels, classes, size)

    return build
