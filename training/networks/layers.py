"""What all networks share: noise on activations, initialization from data, and the precision of losses."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def full_precision(values: Tensor) -> Tensor:
    """Returns what autocast computed in bfloat16 as float32, and other values as they are.

    Losses and statistics need more digits than matrix products.
    """
    return values.float() if values.dtype == torch.bfloat16 else values


class GaussianNoise(nn.Module):
    """Adds independent normal noise of the given standard deviation in training; nothing in evaluation."""

    def __init__(self, stddev: float) -> None:
        super().__init__()
        self.stddev = stddev

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return torch.randn_like(x).mul_(self.stddev).add_(x)

    def extra_repr(self) -> str:
        return f"stddev={self.stddev}"


@torch.no_grad()
def initialize_from_data(network: nn.Module, batch: Tensor) -> None:
    """Data-dependent initialization of every layer of ``network`` that has one, in one pass of ``batch``.

    ``network`` is a tree of ``nn.Sequential``; noise layers stay on, as in the 2016 code.
    """
    x = batch
    for module in leaves(network):
        initialize = getattr(module, "initialize", None)
        x = initialize(x) if initialize is not None else module(x)


def leaves(network: nn.Module) -> list[nn.Module]:
    """Returns the layers of ``network`` that have no parts, in the order in which they were added."""
    return [module for module in network.modules() if not any(True for _ in module.children())]
