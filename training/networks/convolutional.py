"""The convolutional networks of CIFAR-10, SVHN and MNIST, and the same for images of 28 to 128 pixels per side.

Images are ``[N, C, S, S]``. At 32 pixels the layers are those of the 2016 scripts.

# Differs from the 2016 code: it has no other size but MNIST's 28. Larger images get one more transposed convolution in
# the generator and one more convolution of stride 2 before the discriminator's first block for each doubling.
"""

from __future__ import annotations

from torch import Tensor, nn

from igan_zoo.training.networks.layers import GaussianNoise
from igan_zoo.training.networks.minibatch import MinibatchDiscrimination2016, PlainMinibatchDiscrimination
from igan_zoo.training.networks.normalization import BatchNormShift, VirtualBatchNorm
from igan_zoo.training.networks.players import Discriminator, Generator
from igan_zoo.training.networks.weight_norm import (
    DIRECTION_STDDEV,
    WeightNormConv2d,
    WeightNormConvTranspose2d,
    WeightNormDense,
)

# The discriminator's first block works on at most this many pixels per side.
_LARGEST_MAP = 40
# Minibatch discrimination of the 2016 code: kernels, and dimensions of each.
_KERNELS, _DIMENSIONS = 100, 5

MINIBATCH_LAYERS = {"2016": MinibatchDiscrimination2016, "plain": PlainMinibatchDiscrimination}


def convolutional_generator(
    *, size: int, channels: int, latent_size: int, filters: int, reference: Tensor | None = None
) -> Generator:
    """The 2016 CIFAR-10 generator: a dense layer, then transposed convolutions that halve ``filters`` each time.

    Every layer but the last is followed by batch normalization without a gain, or, where ``reference`` latents
    ``[R, latent_size]`` are given, by virtual batch normalization, and ReLU. The last one is weight-normalized.
    Outputs are in (-1, 1). ``size`` is one of ``settings.SIZES``.
    """
    start, doublings = _first_map(size)
    units = filters * start * start
    dense = nn.Linear(latent_size, units, bias=False)
    nn.init.normal_(dense.weight, std=DIRECTION_STDDEV)
    to_maps = nn.Unflatten(1, (filters, start, start))
    layers: list[nn.Module]
    if reference is None:
        # The dense layer's statistics are per unit: the 2016 code normalizes before it reshapes.
        layers = [dense, BatchNormShift(units), nn.ReLU(), to_maps]
    else:
        layers = [dense, to_maps, _virtual(filters, reference), nn.ReLU()]
    for _ in range(doublings - 1):
        convolution = nn.ConvTranspose2d(filters, filters // 2, 5, stride=2, padding=2, output_padding=1, bias=False)
        nn.init.normal_(convolution.weight, std=DIRECTION_STDDEV)
        filters //= 2
        normalization = BatchNormShift(filters) if reference is None else _virtual(filters, reference)
        layers += [convolution, normalization, nn.ReLU()]
    padding = 4 if size == 28 else 2
    last = WeightNormConvTranspose2d(filters, channels, padding=padding, train_scale=True, initial_stddev=0.1)
    return Generator(*layers, last, nn.Tanh(), reference=reference)


def _virtual(filters: int, reference: Tensor) -> VirtualBatchNorm:
    """Virtual batch normalization, like the batch normalization it replaces without a gain."""
    return VirtualBatchNorm(filters, references=len(reference), gain=False)


def convolutional_discriminator(
    *,
    size: int,
    channels: int,
    classes: int,
    filters: int,
    input_dropout: float,
    dropout: float,
    input_noise: float,
    minibatch_discrimination: str | None,
    logit_stddev: float = 0.1,
) -> Discriminator:
    """The 2016 CIFAR-10 discriminator: two blocks of three convolutions, three more, and a global average.

    ``filters`` are those of the first block; the rest has twice as many. The averages are the matched features. There
    is ``dropout`` after each of the two blocks, and ``input_dropout`` or ``input_noise`` before the first.
    ``minibatch_discrimination`` is a key of ``MINIBATCH_LAYERS`` or None. ``logit_stddev`` is the spread of the logits
    after data-dependent initialization.
    """
    wide = 2 * filters
    layers: list[nn.Module] = [nn.Dropout(input_dropout)] if input_dropout else []
    layers += [GaussianNoise(input_noise)] if input_noise else []
    inputs = channels
    while size > _LARGEST_MAP:
        layers += _convolution(inputs, filters // 2, stride=2)
        inputs, size = filters // 2, size // 2
    # MNIST's 28 pixels are padded to 32.
    layers += _convolution(inputs, filters, padding=3 if size == 28 else 1)
    layers += _convolution(filters, filters)
    layers += [*_convolution(filters, filters, stride=2), nn.Dropout(dropout)]
    layers += _convolution(filters, wide)
    layers += _convolution(wide, wide)
    layers += [*_convolution(wide, wide, stride=2), nn.Dropout(dropout)]
    layers += _convolution(wide, wide, padding=0)
    layers += _convolution(wide, wide, kernel=1, padding=0)
    layers += _convolution(wide, wide, kernel=1, padding=0)
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]

    head: list[nn.Module] = []
    features = wide
    if minibatch_discrimination is not None:
        head.append(MINIBATCH_LAYERS[minibatch_discrimination](features, _KERNELS, _DIMENSIONS))
        features += _KERNELS
    head.append(WeightNormDense(features, classes, train_scale=True, initial_stddev=logit_stddev))
    mixes = minibatch_discrimination is not None
    return Discriminator(nn.Sequential(*layers), nn.Sequential(*head), mixes_examples=mixes)


def _convolution(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, padding: int = 1) -> list[nn.Module]:
    return [WeightNormConv2d(inputs, outputs, kernel, stride=stride, padding=padding), nn.LeakyReLU(0.2)]


def _first_map(size: int) -> tuple[int, int]:
    """Returns the pixels per side that a generator starts from, 4 to 7, and how often they double."""
    if size == 28:  # 4, 8, 16, 28, as in 2016
        return 4, 3
    doublings = (size // 4).bit_length() - 1
    return size >> doublings, doublings
