"""The building block of published image classifiers: a convolution, its batch norm, and a rectifier."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class Convolution(nn.Module):
    """A convolution without a bias, batch norm (epsilon 1e-3, as TensorFlow's networks have it), and ``activation``."""

    def __init__(self, inputs: int, outputs: int, activation: nn.Module, **how: Any) -> None:
        super().__init__()
        self.conv: nn.Module = nn.Conv2d(inputs, outputs, bias=False, **how)
        self.bn: nn.Module = nn.BatchNorm2d(outputs, eps=1e-3)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.activation(self.bn(self.conv(x)))
        return result
