"""Small networks for tests, given by import path."""

from __future__ import annotations

import torch
from torch import nn


class Mlp(nn.Module):
    """One hidden layer, batch norm and dropout: a resumed run must find running means and the state of torch's generator."""

    def __init__(self, channels: int, classes: int, size: int):
        super().__init__()
        self.hidden = nn.Linear(channels * size * size, 24)
        self.norm = nn.BatchNorm1d(24)
        self.drop = nn.Dropout(0.3)
        self.out = nn.Linear(24, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.drop(torch.relu(self.norm(self.hidden(x.flatten(1))))))


class Broken(Mlp):
    """A network whose forward pass fails."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("the network is broken")
