"""Random weights under which a network's activations stay alive to its end, so that an error anywhere shows there."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from igan_zoo.export.scorers.convolutions import Convolution


def calibrate(network: nn.Module, x: Tensor, *, seed: int = 0) -> nn.Module:
    """Gives convolutions Kaiming's weights, norms jittered scales and shifts and the statistics of ``x``.

    Returns the network in evaluation mode.
    """
    generator = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, Convolution):
            assert isinstance(layer.bn, nn.BatchNorm2d)
            nn.init.kaiming_normal_(layer.conv.weight, nonlinearity="relu", generator=generator)  # type: ignore[arg-type]
            nn.init.uniform_(layer.bn.weight, 0.7, 1.3, generator=generator)
            nn.init.normal_(layer.bn.bias, 0, 0.2, generator=generator)
            layer.bn.momentum = 1.0
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0, 0.08, generator=generator)
            nn.init.normal_(layer.bias, 0, 0.5, generator=generator)
    with torch.no_grad():
        network.train()(x)
    return network.eval().requires_grad_(False)
