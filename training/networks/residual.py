"""A residual discriminator with batch normalization: it learns a class from far fewer steps than the 2016 network.

# Differs from the 2016 code: its discriminator has weight normalization, dropout and no shortcuts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's usual name

from igan_zoo.training.networks.normalization import RealBatchNorm
from igan_zoo.training.networks.players import Discriminator, scaled

# Filters of the stem and of each stage. Every stage halves height and width.
STAGES = (64, 128, 256, 512)
# Maps of at most so many pixels per side, on which strides make bfloat16 gradients slower.
_SMALL = 8


def halved_convolution(x: Tensor, kernels: Tensor) -> Tensor:
    """Returns the means over 2x2 pixels of a 3x3 convolution, ``[N, C, H, W]`` to ``[N, O, H // 2, W // 2]``.

    A mean of four neighboring answers is one answer of the mean of four moved kernels: a 4x4 convolution of stride 2,
    with 4/9 of the multiplications.
    """
    moved = F.pad(kernels, (0, 1, 0, 1)) + F.pad(kernels, (1, 0, 0, 1))
    moved = moved + F.pad(kernels, (0, 1, 1, 0)) + F.pad(kernels, (1, 0, 1, 0))
    return F.conv2d(x, moved / 4, stride=2, padding=1)


class NormalizedConvolution(nn.Module):
    """A 3x3 convolution, the mean over 2x2 pixels where ``halves``, batch normalization and SiLU."""

    def __init__(self, inputs: int, outputs: int, *, halves: bool = False, gain: bool = True) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.pool: nn.Module = nn.AvgPool2d(2) if halves else nn.Identity()
        self.normalization = RealBatchNorm(outputs, gain=gain)
        self.activation = nn.SiLU()
        self.halves = halves

    def forward(self, x: Tensor) -> Tensor:
        # Exported graphs keep the plain form, whose kernels are smaller.
        strides = self.halves and (x.shape[-1] > _SMALL or not torch.is_autocast_enabled(x.device.type))
        convolved = halved_convolution(x, self.convolution.weight) if strides else self.pool(self.convolution(x))
        activated: Tensor = self.activation(self.normalization(convolved))
        return activated


class Residual(nn.Module):
    """``x`` plus what ``branch`` makes of it."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        sum_: Tensor = x + self.branch(x)
        return sum_


class ResidualDiscriminator(Discriminator):
    """A discriminator whose batch statistics come from real images alone."""

    measured_images = 2000

    def group_logits(self, *groups: Tensor, generated: int = 0) -> tuple[Tensor, ...]:
        """Returns the logits of several batches; the last ``generated`` of them borrow the statistics of the others."""
        real = groups[: len(groups) - generated]
        logits = super().group_logits(*real)
        with self.judging_generated():
            return logits + tuple(self(group) for group in groups[len(real) :])

    @contextlib.contextmanager
    def judging_generated(self) -> Iterator[None]:
        """Uses the statistics of the last real batch inside the block, and leaves them as they are."""
        layers = [module for module in self.modules() if isinstance(module, RealBatchNorm)]
        for layer in layers:
            layer.borrowing = True
        try:
            yield
        finally:
            for layer in layers:
                layer.borrowing = False

    @torch.no_grad()
    def measure(self, parameters: Mapping[str, Tensor], real: Tensor) -> None:
        """Measures the population statistics that evaluation with ``parameters`` uses, on ``real [N, C, H, W]``."""
        training = self.training
        self.train()
        torch.func.functional_call(self, dict(parameters), (real,))
        self.train(training)


def residual_discriminator(*, size: int, channels: int, classes: int, width: float) -> ResidualDiscriminator:
    """Returns the discriminator: a stem, then per stage a halving convolution and two more beside a shortcut.

    ``width`` multiplies the filters of ``STAGES``; images larger than 40 pixels are halved once more after the stem for
    each doubling. The means over space are the matched features.
    """
    stem, *stages = (scaled(filters, width) for filters in STAGES)
    layers: list[nn.Module] = [NormalizedConvolution(channels, stem)]
    while size > 40:
        layers.append(NormalizedConvolution(stem, stem, halves=True))
        size //= 2
    for inputs, outputs in pairwise((stem, *stages)):
        branch = nn.Sequential(NormalizedConvolution(outputs, outputs), NormalizedConvolution(outputs, outputs))
        layers += [NormalizedConvolution(inputs, outputs, halves=True), Residual(branch)]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return ResidualDiscriminator(nn.Sequential(*layers), nn.Sequential(nn.Linear(stages[-1], classes)))
