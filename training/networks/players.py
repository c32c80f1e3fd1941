"""What every generator and discriminator is, and the dense networks of MNIST.

A generator maps latents ``[N, L]`` to images as the discriminator sees them; a discriminator maps such images to
class logits and exposes the intermediate features that feature matching compares (paper, section 3.1).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from igan_zoo.training.networks.layers import GaussianNoise
from igan_zoo.training.networks.normalization import BatchNormShift
from igan_zoo.training.networks.weight_norm import L2NormLinear, WeightNormLinear

OUTPUTS: dict[str, Callable[[], nn.Module]] = {"sigmoid": nn.Sigmoid, "softplus": nn.Softplus, "tanh": nn.Tanh}


class Generator(nn.Sequential):
    """Layers from latents ``[N, L]`` to images; ``reference`` latents, if there are any, go first through them.

    In training, virtual batch normalization needs the activations of a fixed reference batch at every layer: those
    rows go before the others, and come off at the end. In evaluation the layers remember its statistics.
    """

    reference: Tensor | None

    def __init__(self, *layers: nn.Module, reference: Tensor | None = None) -> None:
        super().__init__(*layers)
        self.register_buffer("reference", reference)

    def joined(self, latents: Tensor) -> Tensor:
        """Returns the rows that pass through the layers in training: the reference batch, then ``latents``."""
        return latents if self.reference is None else torch.cat([self.reference, latents])

    def forward(self, latents: Tensor) -> Tensor:
        if self.reference is None or not self.training:
            return self._passed(latents)
        return self._passed(self.joined(latents))[len(self.reference) :]

    def _passed(self, rows: Tensor) -> Tensor:
        for layer in self:
            rows = layer(rows)
        return rows


class Discriminator(nn.Module):
    """A classifier of K classes whose K+1-st class, "generated", has its logit fixed at zero (section 5).

    ``body`` ends at the feature-matching layer; ``head`` turns features into logits. Only the head may compare the
    examples of a batch with each other (minibatch discrimination), and says so with ``mixes_examples``.
    ``measured_images`` is how many real images :meth:`measure` takes.
    """

    measured_images = 0

    def __init__(self, body: nn.Sequential, head: nn.Sequential, *, mixes_examples: bool = False) -> None:
        super().__init__()
        self.body = body
        self.head = head
        self.mixes_examples = mixes_examples

    def features(self, images: Tensor) -> Tensor:
        """Returns the activations that feature matching compares, ``[N, F]``."""
        features: Tensor = self.body(images)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Returns class logits ``[N, K]``."""
        logits: Tensor = self.head(self.features(images))
        return logits

    def measure(self, parameters: Mapping[str, Tensor], real: Tensor) -> None:
        """Measures the population statistics that evaluation with ``parameters`` uses; there are none here."""

    @contextlib.contextmanager
    def judging_generated(self) -> Iterator[None]:
        """Says that the images of the block are generated, to a discriminator that makes a difference."""
        yield

    def group_logits(self, *groups: Tensor, generated: int = 0) -> tuple[Tensor, ...]:  # noqa: ARG002 - for those that care
        """Returns the logits of several batches, none of which sees the examples of another.

        They pass together as far as no layer compares examples: every example has its own noise and dropout. That the
        last ``generated`` batches are not real makes no difference here.

        # Differs from the 2016 code: that has a pass of its own for each batch, which computes the same.
        """
        sizes = [len(group) for group in groups]
        features = self.features(torch.cat(groups))
        if self.mixes_examples:
            return tuple(self.head(group) for group in torch.split(features, sizes))
        return torch.split(self.head(features), sizes)


def scaled(filters: int, width: float) -> int:
    """Returns ``filters`` times ``width``, a multiple of 8."""
    return max(8, round(filters * width / 8) * 8)


def mnist_generator(latent_size: int, pixels: int, output: str) -> Generator:
    """The MNIST generator: two dense layers of 500 softplus units with batch norm, an l2-normalized output layer.

    ``output`` is the last nonlinearity, a key of ``OUTPUTS``; ``"sigmoid"`` is the 2016 code's.
    Inputs are uniform [0, 1) latents ``[N, latent_size]``; outputs are pixels ``[N, pixels]``, black 0 and white 1.
    """
    return Generator(
        _glorot_linear(latent_size, 500),
        BatchNormShift(500),
        nn.Softplus(),
        _glorot_linear(500, 500),
        BatchNormShift(500),
        nn.Softplus(),
        L2NormLinear(500, pixels),
        OUTPUTS[output](),
    )


def mnist_discriminator(pixels: int, classes: int) -> Discriminator:
    """The permutation-invariant MNIST discriminator: five hidden layers, Gaussian noise before every one.

    Inputs are pixels in [0, 1], ``[N, pixels]``. The 250 features of the fifth layer are matched.
    """
    widths = [pixels, 1000, 500, 250, 250, 250]
    layers: list[nn.Module] = []
    for index, (inputs, outputs) in enumerate(pairwise(widths)):
        layers += [GaussianNoise(0.3 if index == 0 else 0.5), WeightNormLinear(inputs, outputs), nn.ReLU()]
    head = nn.Sequential(GaussianNoise(0.5), WeightNormLinear(widths[-1], classes, train_scale=True))
    return Discriminator(nn.Sequential(*layers), head)


def _glorot_linear(inputs: int, outputs: int) -> nn.Linear:
    """A dense layer without bias: the batch normalization that follows has the shift."""
    layer = nn.Linear(inputs, outputs, bias=False)
    with torch.no_grad():
        nn.init.xavier_uniform_(layer.weight)
    return layer
