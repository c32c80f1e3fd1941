"""Turning trained networks into plain ones that compute the same function in evaluation mode.

Weight normalization is folded into the weights, batch normalization with its population statistics into the layer
before it, and noise and dropout disappear. Layers that depend on the example itself remain: virtual batch
normalization, with the reference batch's statistics as constants.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from igan_zoo import latents
from igan_zoo.training.data.training_set import to_network, views
from igan_zoo.training.networks.layers import GaussianNoise
from igan_zoo.training.networks.minibatch import MinibatchDiscrimination2016, PlainMinibatchDiscrimination
from igan_zoo.training.networks.multi_scale import MultiScaleGenerator
from igan_zoo.training.networks.normalization import BatchNormShift, VirtualBatchNorm, set_population_statistics
from igan_zoo.training.networks.players import Discriminator, Generator
from igan_zoo.training.networks.residual import NormalizedConvolution, Residual
from igan_zoo.training.networks.weight_norm import (
    L2NormLinear,
    WeightNormConv2d,
    WeightNormConvTranspose2d,
    WeightNormDense,
    WeightNormLinear,
    normalized_weight,
)
from igan_zoo.training.networks.whitened import PatchWhitening
from igan_zoo.training.recipes.settings import PIXEL_RANGES, Recipe

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d, nn.ConvTranspose2d)

# Of the population statistics: the sampling error of a mean over this many is below 1 % of a standard deviation.
POPULATION = 20_000
# Of the largest layer: fewer latents are enough where every one of them gives many places to average over.
_MOST_ACTIVATIONS = 2**28


def measure_population(generator: nn.Module, latent_size: int, distribution: latents.Distribution = "uniform") -> None:
    """Sets the statistics that the generator's normalizations use in evaluation.

    Batch normalization: over up to 20,000 latents of their own seed. Virtual batch normalization: over the reference
    batch, exactly.
    """
    if isinstance(generator, MultiScaleGenerator):
        generator.measure()
    elif isinstance(generator, Generator) and generator.reference is not None:
        generator.train()
        with torch.no_grad():
            generator(generator.reference[:1])
    else:
        count = min(POPULATION, max(2_000, _MOST_ACTIVATIONS // _largest_layer(generator, latent_size)))
        z = latents.latents(latent_size, distribution, seed=latents.POPULATION_SEED, start=0, count=count)
        generator.train()
        set_population_statistics(generator, torch.from_numpy(z))
    generator.eval()


@torch.no_grad()
def _largest_layer(generator: nn.Module, latent_size: int) -> int:
    """Returns the largest number of activations of any layer for one image."""
    rows, largest = torch.zeros(2, latent_size), latent_size
    for layer in generator.children():
        rows = layer(rows)
        largest = max(largest, rows[0].numel())
    return largest


def frozen_generator(generator: nn.Module) -> nn.Module:
    """Returns the generator as plain layers and nonlinearities; the input is left unchanged."""
    if isinstance(generator, MultiScaleGenerator):
        return generator
    return nn.Sequential(*_frozen(generator.children()))


def with_affine_normalization(generator: nn.Module) -> nn.Module:
    """Returns a copy of a generator whose virtual batch normalizations use only the reference statistics.

    That is not the same function: an example's own moments, of weight 1 / (n + 1), are left out.
    """
    affine = copy.deepcopy(generator)
    for parent in list(affine.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, VirtualBatchNorm):
                setattr(parent, name, AffineNormalization(layer))
    return affine


class AffineNormalization(nn.Module):
    """A virtual batch normalization with the reference batch's statistics alone: a scale and a shift per channel."""

    scale: Tensor
    shift: Tensor

    def __init__(self, layer: VirtualBatchNorm) -> None:
        super().__init__()
        mean = layer.population_mean.double()
        scale = torch.rsqrt(layer.population_variance.double() + layer.epsilon)
        scale = scale if layer.gain is None else scale * layer.gain.double()
        self.register_buffer("scale", scale.detach().float())
        self.register_buffer("shift", (layer.shift.double() - mean * scale).detach().float())

    def forward(self, x: Tensor) -> Tensor:
        per_channel = (1, -1) + (1,) * (x.dim() - 2)
        return x * self.scale.reshape(per_channel) + self.shift.reshape(per_channel)


def frozen_discriminator(discriminator: nn.Module) -> nn.Module:
    """Returns the discriminator's logits as plain layers and nonlinearities."""
    if isinstance(discriminator, Discriminator):
        return nn.Sequential(*_frozen([*discriminator.body.children(), *discriminator.head.children()]))
    return discriminator


@torch.no_grad()
def _frozen(layers: Iterable[nn.Module]) -> list[nn.Module]:
    plain: list[nn.Module] = []
    for layer in layers:
        match layer:
            case GaussianNoise() | nn.Dropout():
                continue
            case WeightNormLinear() | L2NormLinear():
                norm = torch.sqrt(layer.epsilon + layer.direction.double().square().sum(dim=1))
                weight = layer.direction.double() * (layer.scale.double() / norm)[:, None]
                plain.append(_linear(weight, layer.bias.double()))
            case WeightNormDense():
                plain.append(_linear(_normalized(layer), layer.bias.double()))
            case WeightNormConv2d():
                plain.append(_convolution(_normalized(layer), layer.bias.double(), layer.stride, layer.padding))
            case WeightNormConvTranspose2d():
                plain.append(_transposed(_normalized(layer), layer.bias.double(), layer.padding))
            case BatchNormShift():
                plain.append(_folded(plain.pop(), layer))
            case NormalizedConvolution():
                # The mean over pixels comes before the normalization in training, and after it here: both are linear.
                plain += [_folded_convolution(layer), *_frozen([layer.pool]), layer.activation]
            case Residual():
                plain.append(Residual(nn.Sequential(*_frozen([layer.branch]))))
            case nn.Sequential():
                plain += _frozen(layer.children())
            case nn.Identity():
                continue
            case MinibatchDiscrimination2016() | PlainMinibatchDiscrimination():
                plain.append(FrozenMinibatchDiscrimination(layer))
            case nn.Softplus():
                plain.append(StableSoftplus())
            case PatchWhitening():
                plain.append(_convolution(layer.kernels.double(), layer.shift.double(), stride=1, padding=0))
            case nn.AdaptiveAvgPool2d():
                plain.append(SpatialMean())
            case _:
                plain.append(layer)
    return plain


def _normalized(layer: WeightNormDense | WeightNormConv2d | WeightNormConvTranspose2d) -> Tensor:
    return normalized_weight(layer.direction.double(), layer.scale.double(), layer.output_dimension)


def _folded(before: nn.Module, normalization: BatchNormShift) -> nn.Module:
    """Returns the layer ``before``, which has no bias, with the normalization that follows it."""
    inverse_stddev = torch.rsqrt(normalization.population_variance.double() + normalization.epsilon)
    shift = normalization.shift.double() - normalization.population_mean.double() * inverse_stddev
    if getattr(before, "bias", None) is None:
        if isinstance(before, nn.Linear):
            return _linear(before.weight.double() * inverse_stddev[:, None], shift)
        if isinstance(before, nn.ConvTranspose2d):
            weight = before.weight.double() * inverse_stddev[:, None, None]
            return _transposed(weight, shift, int(before.padding[0]))
    raise TypeError(f"batch normalization cannot be folded into {before}")


def _folded_convolution(layer: NormalizedConvolution) -> nn.Conv2d:
    """Returns the convolution with the batch normalization that follows it."""
    normalization = layer.normalization
    inverse_stddev = torch.rsqrt(normalization.population_variance.double() + normalization.epsilon)
    scale = inverse_stddev * normalization.gain.double()
    weight = layer.convolution.weight.double() * scale[:, None, None, None]
    bias = normalization.shift.double() - normalization.population_mean.double() * scale
    return _convolution(weight, bias, stride=1, padding=1)


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    outputs, inputs = weight.shape
    return _filled(nn.Linear(inputs, outputs), weight, bias)


def _convolution(weight: Tensor, bias: Tensor, stride: int, padding: int) -> nn.Conv2d:
    outputs, inputs, kernel, _ = weight.shape
    return _filled(nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding), weight, bias)


def _transposed(weight: Tensor, bias: Tensor, padding: int) -> nn.ConvTranspose2d:
    inputs, outputs, kernel, _ = weight.shape
    layer = nn.ConvTranspose2d(inputs, outputs, kernel, stride=2, padding=padding, output_padding=1)
    return _filled(layer, weight, bias)


def _filled(layer: Layer, weight: Tensor, bias: Tensor) -> Layer:
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer


class StableSoftplus(nn.Module):
    """``log(1 + exp x)`` as ``max(x, 0) + log(1 + exp(-|x|))``, which never overflows.

    The same function as ``nn.Softplus`` without its threshold, within float32 rounding, made of operators that every
    runtime vectorizes.
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.relu() + (1 + (-x.abs()).exp()).log()


class SpatialMean(nn.Module):
    """The mean of every channel, ``[N, C, H, W]`` to ``[N, C, 1, 1]``, which exports as one operator."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3), keepdim=True)


class FrozenMinibatchDiscrimination(nn.Module):
    """Minibatch discrimination of standard operators: ``x [N, inputs]`` to ``x`` and its similarities.

    The batch's ``N · N · kernels · dimensions`` differences are in memory at the same time: 20 MB for the 2016 batch of
    100.
    """

    projection: Tensor
    bias: Tensor

    def __init__(self, layer: MinibatchDiscrimination2016 | PlainMinibatchDiscrimination) -> None:
        super().__init__()
        projection, bias = layer.projection(), layer.offset()
        self.register_buffer("projection", projection.detach().flatten(start_dim=1))  # (inputs, kernels * dimensions)
        self.register_buffer("bias", bias.detach())
        self.shape = projection.shape[1:]

    def forward(self, x: Tensor) -> Tensor:
        activations = (x @ self.projection).reshape(-1, *self.shape)  # (N, kernels, dimensions)
        distances = (activations.unsqueeze(1) - activations.unsqueeze(0)).abs().sum(dim=3)  # (N, N, kernels)
        return torch.cat([x, (-distances).exp().sum(dim=1) + self.bias], dim=1)


class ImageGenerator(nn.Module):
    """Contract 2's generator: ``latent`` float32 ``[N, L]`` to ``images`` uint8 ``[N, H, W, C]``."""

    def __init__(self, network: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.network = network
        self.shape = (recipe.height, recipe.width, recipe.channels)
        self.offset, self.scale = PIXEL_RANGES[recipe.pixel_range]

    def pixels(self, latent: Tensor) -> Tensor:
        """Returns gray levels before rounding, 0 to 255, ``[N, H, W, C]``."""
        values: Tensor = self.network(latent)
        levels = (values * self.scale + self.offset).clamp(0, 255)
        if levels.dim() == 4:
            return levels.permute(0, 2, 3, 1)  # (N, H, W, C)
        return levels.reshape(-1, *self.shape)  # (N, H, W, C)

    def forward(self, latent: Tensor) -> Tensor:
        return self.pixels(latent).round().to(torch.uint8)


class ImageClassifier(nn.Module):
    """Contract 2's classifier: ``images`` uint8 ``[N, H, W, C]`` to logits, probabilities and realness.

    A ``temperature`` makes the probabilities less certain but keeps the realness; the logits are consistent with both.
    """

    def __init__(self, network: nn.Module, recipe: Recipe, temperature: float = 1.0) -> None:
        super().__init__()
        self.network = network
        self.recipe = recipe
        self.temperature = temperature

    def logits(self, images: Tensor) -> Tensor:
        """Returns the logits of the real classes ``[N, K]``; the class "generated" has the fixed logit zero."""
        answers = [self._of(view) for view in views(images, self.recipe)]
        return answers[0] if len(answers) == 1 else torch.stack(answers).mean(dim=0)

    def _of(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(to_network(images, self.recipe))
        return logits[:, :-1] - logits[:, -1:] if self.recipe.explicit_generated_class else logits

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = self.logits(images)
        # D(x) = Z / (Z + 1) = sigmoid(log Z), Z the sum of the exponentials.
        log_z = _log_sum_exp(logits, dim=1)
        if self.temperature != 1.0:
            logits = _cooled(logits, self.temperature) + log_z.unsqueeze(1)
        return logits, logits.softmax(dim=1), log_z.sigmoid()


class ImageEnsemble(nn.Module):
    """Several classifiers as one: the means of their probabilities and of their realness.

    The logits are those that belong to these means: their softmax and their Z / (Z + 1) give them again.
    """

    def __init__(self, members: Sequence[ImageClassifier], temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = temperature
        self.members = nn.ModuleList(members)
        self.softplus = StableSoftplus()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        classes, real, generated = [], [], []
        for member in self.members:
            logits = member.logits(images)  # type: ignore[operator]
            log_z = _log_sum_exp(logits, dim=1)
            classes.append(logits - log_z.unsqueeze(1))  # log of the softmax
            real.append(-self.softplus(-log_z))  # log of the sigmoid
            generated.append(-self.softplus(log_z))
        # Of means over equally many members the count cancels in the ratio, and softmax takes it out.
        log_classes = _log_sum_exp(torch.stack(classes), dim=0) - math.log(len(self.members))
        if self.temperature != 1.0:
            log_classes = _cooled(log_classes, self.temperature)
        log_z = _log_sum_exp(torch.stack(real), dim=0) - _log_sum_exp(torch.stack(generated), dim=0)
        return log_classes + log_z.unsqueeze(1), log_classes.softmax(dim=1), log_z.sigmoid()


def _cooled(logits: Tensor, temperature: float) -> Tensor:
    """Returns the logarithms of the probabilities at a temperature, ``[N, K]``."""
    divided = logits / temperature
    return divided - _log_sum_exp(divided, dim=1).unsqueeze(1)


def _log_sum_exp(values: Tensor, dim: int) -> Tensor:
    """``log Σ exp`` over a dimension; the largest value is taken out so that no exponential overflows."""
    largest = values.amax(dim=dim, keepdim=True)
    return (values - largest).exp().sum(dim=dim).log() + largest.squeeze(dim)
