"""The 128x128 networks of the 2016 ImageNet code: noise at every scale, and images compared with each other.

Images are float ``[N, 3, size, size]`` in (-1, 1). Both networks take ``width``, a factor on every number of channels,
latents and kernels (1 is the 2016 code's), and ``size``: 64 and 32 have one and two stages less at the image's end.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from igan_zoo.latents import latents
from igan_zoo.training.networks.layers import GaussianNoise
from igan_zoo.training.networks.minibatch import frozen_minibatch_features, joint_minibatch_features
from igan_zoo.training.networks.normalization import CrossBatchNorm, VirtualBatchNorm

# Stages that are left out, by size.
SIZES = {128: 0, 64: 1, 32: 2}
STDDEV = 0.02

LATENTS = 8192
# Channels and noise maps of the generator at 4x4, 8x8, ... 128x128.
GENERATOR = ((512, 64), (256, 64), (128, 32), (64, 16), (64, 8), (64, 8))
# Channels and stride of the discriminator's convolutions, from 128x128 to 4x4.
DISCRIMINATOR = ((64, 2), (128, 2), (256, 2), (256, 1), (256, 1), (512, 2), (512, 2))
DENSE = 2560
KERNELS = 300
DIMENSIONS = 50


class MultiScaleGenerator(nn.Module):
    """A generator with fresh noise maps beside the activations of every scale and virtual batch normalization.

    ``latent_size`` is the length of the one flat vector per image: ``z``, then the noise maps from the coarsest to the
    finest, each channel by channel, all uniform on [-1, 1); 201,728 numbers at full width and size. The ``references``
    latents of the reference batch are addressed by ``reference_seed``, so that they are equal in every process; they
    must not be among those that images are made of.

    # Differs from the 2016 code: the transposed convolutions have no biases before a normalization, which would cancel
    # them. And TensorFlow crops a stride-2 transposed convolution by one row and column before and two after, here it
    # is two and one: every layer is mirrored along both axes.
    """

    reference: Tensor

    def __init__(self, *, reference_seed: int, references: int = 16, width: float = 1.0, size: int = 128) -> None:
        super().__init__()
        stages = [
            (_scaled(channels, width), _scaled(maps, width)) for channels, maps in _sized(GENERATOR, size, end=True)
        ]
        self.parts = [_scaled(LATENTS, width), *(maps * (4 << stage) ** 2 for stage, (_, maps) in enumerate(stages))]
        self.latent_size = sum(self.parts)
        self.stem = nn.Linear(self.parts[0], stages[0][0] * 4 * 4, bias=False)
        # Here a bias matters: there is one for each unit, and the normalization that follows is per channel.
        self.stem.bias = nn.Parameter(torch.zeros(self.stem.out_features))
        self.deconvolutions = nn.ModuleList(
            nn.ConvTranspose2d(sum(before), after, 5, stride=2, padding=2, output_padding=1, bias=False)
            for before, (after, _) in pairwise(stages)
        )
        self.normalizations = nn.ModuleList(VirtualBatchNorm(channels, references=references) for channels, _ in stages)
        self.output = nn.ConvTranspose2d(sum(stages[-1]), 3, 5, padding=2)
        self._initialize()
        self.register_buffer("reference", torch.empty(references, self.latent_size))
        drawn = latents(self.latent_size, "symmetric-uniform", seed=reference_seed, start=0, count=references)
        self.reference.copy_(torch.from_numpy(drawn))

    @torch.no_grad()
    def _initialize(self) -> None:
        for layer in self.modules():
            if isinstance(layer, nn.Linear | nn.ConvTranspose2d):
                layer.weight.normal_(std=STDDEV)
        self.output.weight.normal_(std=0.075)
        nn.init.constant_(self.output.bias, -0.45)  # type: ignore[arg-type]

    def forward(self, latent: Tensor) -> Tensor:
        """Returns images ``[N, 3, size, size]`` of latents ``[N, latent_size]``.

        In training the reference batch goes through the same weights, in front of the live rows. In evaluation each
        image depends on its own latent only.
        """
        if self.training:
            hidden = self._hidden(torch.cat([self.reference, latent]))[len(self.reference) :]
        else:
            hidden = self._hidden(latent)
        images: Tensor = self.output(hidden).tanh()
        return images

    @torch.no_grad()
    def measure(self) -> None:
        """Brings the statistics that evaluation uses up to date with the weights: call it after the last update."""
        mode = self.training
        self.train()
        self._hidden(self.reference)
        self.train(mode)

    def _hidden(self, latent: Tensor) -> Tensor:
        z, *noise = torch.split(latent, self.parts, dim=1)
        x: Tensor = self.stem(z).unflatten(1, (-1, 4, 4))  # (N, 512, 4, 4)
        for stage, (normalization, maps) in enumerate(zip(self.normalizations, noise, strict=True)):
            if stage:
                x = self.deconvolutions[stage - 1](x)
            maps = torch.unflatten(maps, 1, (-1, 4 << stage, 4 << stage))  # (N, maps, side, side)
            x = torch.cat([normalization(x).relu(), maps], dim=1)  # (N, channels + maps, side, side)
        return x


class MultiScaleDiscriminator(nn.Module):
    """A classifier of ``classes`` and, last, "generated", which sees real and generated images together.

    Half of each normalization's statistics are the real images', half the generated ones', and the minibatch features
    compare every image with all others of both kinds: in training there is only :meth:`joint_logits`. :meth:`measure`
    makes a classifier of single images of it, for evaluation.

    # Differs from the 2016 code: no biases before a normalization or a difference, which would cancel them.
    """

    reference_real: Tensor
    reference_fake: Tensor

    def __init__(self, *, classes: int = 1000, references: int = 16, width: float = 1.0, size: int = 128) -> None:
        super().__init__()
        convolutions = [(_even(channels, width), stride) for channels, stride in _sized(DISCRIMINATOR, size, end=False)]
        channels = [3, *(channels for channels, _ in convolutions)]
        dense, self.kernels = _even(DENSE, width), _scaled(KERNELS, width)
        self.noise = GaussianNoise(0.1)
        layers: list[nn.Module] = []
        for (inputs, outputs), (_, stride) in zip(pairwise(channels), convolutions, strict=True):
            layers += [_convolution(inputs, outputs, stride), CrossBatchNorm(outputs), nn.LeakyReLU(0.2)]
        layers += [nn.Flatten(), nn.Linear(channels[-1] * 4 * 4, dense, bias=False), CrossBatchNorm(dense)]
        self.body = nn.Sequential(*layers, nn.LeakyReLU(0.2))
        self.projection = nn.Linear(dense, self.kernels * DIMENSIONS, bias=False)
        self.output = nn.Linear(dense + 2 * self.kernels, classes + 1)
        self._initialize()
        # NaN until measured: evaluation before is loud.
        for name in ("reference_real", "reference_fake"):
            self.register_buffer(name, torch.full((references, self.kernels, DIMENSIONS), torch.nan))

    @torch.no_grad()
    def _initialize(self) -> None:
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.trunc_normal_(layer.weight, std=STDDEV, a=-2 * STDDEV, b=2 * STDDEV)
            elif isinstance(layer, nn.Linear):
                layer.weight.normal_(std=STDDEV)
        self.output.bias.zero_()

    def joint_logits(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the logits ``[B, classes + 1]`` of ``B`` real and of ``B`` generated images, of one joint pass.

        Raises:
            RuntimeError: the network is in evaluation mode, where images do not see each other.
            ValueError: there are not as many real images as generated ones.
        """
        if not self.training:
            raise RuntimeError("a joint pass of real and generated images is for training mode; call train() first")
        features, activations = self._features(self.noise(_joint(real, fake)))
        compared = torch.cat(joint_minibatch_features(*activations.chunk(2)))
        logits: Tensor = self.output(torch.cat([features, compared], dim=1))
        return logits[: len(real)], logits[len(real) :]

    @torch.no_grad()
    def measure(self, real: Tensor, fake: Tensor) -> None:
        """Stores what evaluation compares an image with; call it after the last update of the weights.

        All the images give the statistics of the normalizations, in one joint pass without pixel noise; the first
        ``references`` of either kind stay as those that the minibatch features are sums over.

        Raises:
            ValueError: there are not as many real images as generated ones, or fewer than the references.
        """
        count = len(self.reference_real)
        if len(real) < count:
            raise ValueError(f"the discriminator keeps {count} images of either kind, but was given {len(real)}")
        mode = self.training
        self.train()
        _, activations = self._features(_joint(real, fake))
        self.train(mode)
        self.reference_real.copy_(activations[:count])
        self.reference_fake.copy_(activations[len(real) : len(real) + count])

    def forward(self, images: Tensor) -> Tensor:
        """Returns the logits ``[N, classes + 1]`` of images, each independent of the others.

        # Differs from training: an image is compared with all the stored references, where in a joint batch one of the
        # images of its own kind is itself and is left out; :func:`frozen_minibatch_features` keeps the scale.

        Raises:
            RuntimeError: the network is in training mode.
        """
        if self.training:
            raise RuntimeError("single images are for evaluation mode; in training call joint_logits()")
        features, activations = self._features(images)
        compared = frozen_minibatch_features(activations, self.reference_real, self.reference_fake)
        logits: Tensor = self.output(torch.cat([features, compared], dim=1))
        return logits

    def _features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the last layer's features ``[N, 2560]`` and the minibatch activations ``[N, 300, 50]``."""
        features: Tensor = self.body(images)
        return features, self.projection(features).reshape(-1, self.kernels, DIMENSIONS)


def _convolution(inputs: int, outputs: int, stride: int) -> nn.Module:
    """A 3x3 convolution with TensorFlow's SAME padding: of an even side, stride 2 pads nothing before and one after."""
    if stride == 1:
        return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(inputs, outputs, 3, stride=2, bias=False))


def _joint(real: Tensor, fake: Tensor) -> Tensor:
    if len(real) != len(fake):
        raise ValueError(
            f"a joint pass needs as many real as generated images, but was given {len(real)} and {len(fake)}"
        )
    return torch.cat([real, fake])


def _sized(stages: tuple[tuple[int, int], ...], size: int, *, end: bool) -> tuple[tuple[int, int], ...]:
    """Returns the stages of a network for images of ``size``: without some at the end, or at the beginning."""
    if size not in SIZES:
        raise ValueError(f"these networks are for images of {', '.join(map(str, SIZES))} pixels, not of {size}")
    return stages[: len(stages) - SIZES[size]] if end else stages[SIZES[size] :]


def _scaled(count: int, width: float) -> int:
    return max(1, round(count * width))


def _even(count: int, width: float) -> int:
    """The same for what is normalized in two halves."""
    return 2 * _scaled(count // 2, width)
