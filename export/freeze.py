"""Turning trained networks into plain ones that compute the same function in evaluation mode.

Weight normalization is folded into the weights, batch normalization with its population statistics into the dense
layer before it, and noise disappears. Only standard ``torch.nn`` layers are left.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from igan_zoo import latents
from igan_zoo.training.layers import (
    BatchNormShift,
    GaussianNoise,
    L2NormLinear,
    WeightNormLinear,
    set_population_statistics,
)
from igan_zoo.training.networks import Discriminator

# Of the population statistics: the sampling error of a mean over this many is below 1 % of a standard deviation.
POPULATION = 20_000
POPULATION_SEED = 2**63


def measure_population(generator: nn.Module, latent_size: int) -> None:
    """Sets the population statistics of the generator's batch normalizations, over 20,000 latents of their own seed."""
    z = latents.latents(latent_size, "uniform", seed=POPULATION_SEED, start=0, count=POPULATION)
    generator.train()
    set_population_statistics(generator, torch.from_numpy(z))
    generator.eval()


def frozen_generator(generator: nn.Module) -> nn.Sequential:
    """Returns the generator as plain dense layers and nonlinearities; the input is left unchanged."""
    return nn.Sequential(*_frozen(list(generator.children())))


def frozen_discriminator(discriminator: Discriminator) -> nn.Sequential:
    """Returns the discriminator's logits as plain dense layers and nonlinearities."""
    return nn.Sequential(*_frozen([*discriminator.body.children(), *discriminator.head.children()]))


@torch.no_grad()
def _frozen(layers: list[nn.Module]) -> list[nn.Module]:
    plain: list[nn.Module] = []
    for layer in layers:
        match layer:
            case GaussianNoise():
                continue
            case WeightNormLinear() | L2NormLinear():
                norm = torch.sqrt(layer.epsilon + layer.direction.double().square().sum(dim=1))
                weight = layer.direction.double() * (layer.scale.double() / norm)[:, None]
                plain.append(_linear(weight, layer.bias.double()))
            case BatchNormShift():
                before = plain.pop()
                if not isinstance(before, nn.Linear) or "bias" in dict(before.named_parameters()):
                    raise TypeError(f"batch normalization cannot be folded into {before}")
                plain.append(_folded(before, layer))
            case nn.Softplus():
                plain.append(StableSoftplus())
            case _:
                plain.append(layer)
    return plain


def _folded(linear: nn.Linear, normalization: BatchNormShift) -> nn.Linear:
    inverse_stddev = torch.rsqrt(normalization.population_variance.double() + normalization.epsilon)
    shift = normalization.shift.double() - normalization.population_mean.double() * inverse_stddev
    return _linear(linear.weight.double() * inverse_stddev[:, None], shift)


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    outputs, inputs = weight.shape
    linear = nn.Linear(inputs, outputs)
    linear.weight.copy_(weight)
    linear.bias.copy_(bias)
    return linear


class StableSoftplus(nn.Module):
    """``log(1 + exp x)`` as ``max(x, 0) + log(1 + exp(-|x|))``, which never overflows.

    The same function as ``nn.Softplus`` without its threshold, within float32 rounding, of operators that every
    runtime vectorizes.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.relu() + (1 + (-x.abs()).exp()).log()


class ImageGenerator(nn.Module):
    """Contract 2's generator: ``latent`` float32 ``[N, L]`` to ``images`` uint8 ``[N, H, W, C]``."""

    def __init__(self, network: nn.Module, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.network = network
        self.shape = shape

    def pixels(self, latent: Tensor) -> Tensor:
        """Returns grey levels before rounding, 0 to 255, ``[N, H*W*C]``."""
        levels: Tensor = self.network(latent).clamp(0, 1) * 255
        return levels

    def forward(self, latent: Tensor) -> Tensor:
        return self.pixels(latent).round().to(torch.uint8).reshape(-1, *self.shape)  # (N, H, W, C)


class ImageClassifier(nn.Module):
    """Contract 2's classifier: ``images`` uint8 ``[N, H, W, C]`` to logits, probabilities and realness."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = self.network(images.flatten(start_dim=1).float() / 255)
        # D(x) = Z / (Z + 1) = sigmoid(log Z); the largest logit is taken out so that no exponential overflows.
        largest = logits.amax(dim=1, keepdim=True)
        log_z = (logits - largest).exp().sum(dim=1).log() + largest.squeeze(1)
        return logits, logits.softmax(dim=1), log_z.sigmoid()
