"""The residual discriminator: real images set the statistics, and generated ones borrow them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's usual name

from igan_zoo.export.freeze import frozen_discriminator
from igan_zoo.training.networks.layers import initialize_from_data
from igan_zoo.training.networks.residual import (
    NormalizedConvolution,
    ResidualDiscriminator,
    halved_convolution,
    residual_discriminator,
)
from igan_zoo.training.networks.whitened import whitened_discriminator


@pytest.fixture
def network() -> ResidualDiscriminator:
    torch.manual_seed(1)
    return residual_discriminator(size=32, channels=3, classes=10, width=0.125)


def images(count: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(count, 3, 32, 32)


each_kind = pytest.mark.parametrize("build", [residual_discriminator, whitened_discriminator])


def measured(build: Callable[..., ResidualDiscriminator]) -> ResidualDiscriminator:
    """A network in evaluation mode that was initialized from images, with gains and shifts of its own."""
    torch.manual_seed(1)
    network = build(size=32, channels=3, classes=10, width=0.125)
    with torch.no_grad():
        initialize_from_data(network, images(64))
    for layer in network.modules():
        if hasattr(layer, "gain"):
            torch.nn.init.uniform_(layer.gain, 0.5, 1.5)
        if hasattr(layer, "shift"):
            torch.nn.init.normal_(layer.shift)
    network.measure({}, images(64))
    return network.eval()


@pytest.mark.parametrize("size", [28, 32, 64, 128])
def test_images_of_every_size_become_logits(size: int) -> None:
    network = residual_discriminator(size=size, channels=1, classes=7, width=0.125)
    assert network(torch.zeros(2, 1, size, size)).shape == (2, 7)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (7, 7), (5, 12), (2, 3)])
@pytest.mark.parametrize(("inputs", "outputs"), [(1, 3), (4, 2)])
def test_a_halved_convolution_is_the_mean_of_a_convolution(height: int, width: int, inputs: int, outputs: int) -> None:
    torch.manual_seed(1)
    x = torch.randn(2, inputs, height, width, dtype=torch.float64)
    kernels = torch.randn(outputs, inputs, 3, 3, dtype=torch.float64)
    plain = F.avg_pool2d(F.conv2d(x, kernels, padding=1), 2)
    torch.testing.assert_close(halved_convolution(x, kernels), plain)


@pytest.mark.parametrize("size", [6, 7, 8, 9, 16])
def test_a_halving_layer_computes_the_same_in_either_precision(size: int) -> None:
    """Small maps take another form in bfloat16."""
    torch.manual_seed(1)
    layer, x = NormalizedConvolution(3, 4, halves=True), torch.randn(8, 3, size, size)
    exact = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = layer(x).float()
    torch.testing.assert_close(rounded, exact, rtol=0.05, atol=0.05)


def test_generated_images_do_not_change_how_real_ones_are_seen(network: ResidualDiscriminator) -> None:
    real = images(8)
    alone = network(real)
    together, _ = network.group_logits(real, images(8, scale=30.0), generated=1)
    torch.testing.assert_close(together, alone)


def test_generated_images_are_normalized_by_the_statistics_of_real_ones(network: ResidualDiscriminator) -> None:
    real = images(64)
    # The same images as generated ones: equal up to the unbiased variance, which is what is kept.
    of_real, of_generated = network.group_logits(real, real, generated=1)
    torch.testing.assert_close(of_generated, of_real, rtol=0.01, atol=0.01)
    _, of_others = network.group_logits(real, 3 * real, generated=1)
    assert not torch.allclose(of_others, of_real, rtol=0.1, atol=0.1)


@each_kind
def test_one_image_is_answered_alone_as_among_others(build: Callable[..., ResidualDiscriminator]) -> None:
    network = measured(build)
    several = images(5)
    torch.testing.assert_close(network(several)[:1], network(several[:1]))


def test_measuring_uses_the_averaged_parameters_and_keeps_the_mode(network: ResidualDiscriminator) -> None:
    real = images(16)
    other = {name: torch.zeros_like(value) for name, value in network.named_parameters()}
    network.eval()
    network.measure(other, real)
    assert not network.training
    stem = network.body[0].normalization
    assert stem.population_variance.abs().max() == 0


@each_kind
def test_the_frozen_network_is_the_same_function(build: Callable[..., ResidualDiscriminator]) -> None:
    network = measured(build)
    frozen = frozen_discriminator(network).eval()
    assert not {"RealBatchNorm", "PatchWhitening"} & {type(layer).__name__ for layer in frozen.modules()}
    batch = images(4)
    torch.testing.assert_close(frozen(batch), network(batch), rtol=1e-4, atol=1e-4)
