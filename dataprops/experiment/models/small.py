"""Two small networks without batch norm: a four-layer CNN, and an MLP with two hidden layers."""

from __future__ import annotations

from torch import nn

CNN_WIDTHS = (32, 64, 128, 128)
HIDDEN = 512


def cnn4(channels: int = 3, classes: int = 1000, size: int = 224) -> nn.Module:
    """Four 3 x 3 convolutions, each followed by 2 x 2 pooling; global average pooling; one linear layer."""
    layers: list[nn.Module] = []
    inputs = channels
    for width in CNN_WIDTHS:
        layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        inputs = width
    layers[-1] = nn.AdaptiveAvgPool2d(2)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * inputs, classes))


def mlp(channels: int = 3, classes: int = 1000, size: int = 224) -> nn.Module:
    """MLP on all pixels with two hidden layers of 512 units."""
    return nn.Sequential(
        nn.Flatten(),
        *(nn.Linear(channels * size * size, HIDDEN), nn.ReLU()),
        *(nn.Linear(HIDDEN, HIDDEN), nn.ReLU()),
        nn.Linear(HIDDEN, classes),
    )
