"""The building block of published image classifiers: a convolution, its batch norm, and a rectifier."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Network = TypeVar("Network", bound=nn.Module)


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


def folded(network: Network) -> Network:
    """Returns a float32 copy of ``network`` in which every batch norm is part of the convolution before it.

    Computed in float64 from the running statistics, and rounded once.
    """
    result = copy.deepcopy(network).double().eval()
    for layer in result.modules():
        if isinstance(layer, Convolution):
            layer.conv = fuse_conv_bn_eval(layer.conv, layer.bn)  # type: ignore[arg-type, type-var]
            layer.bn = nn.Identity()
    return result.float()
