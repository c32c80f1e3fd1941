"""The whitened discriminator: its first layer is measured on images, and its stages pass these on at first."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from igan_zoo.training.networks.layers import initialize_from_data
from igan_zoo.training.networks.residual import ResidualDiscriminator
from igan_zoo.training.networks.whitened import PatchWhitening, whitened_discriminator


def images(count: int, channels: int = 3, size: int = 32) -> Tensor:
    """Noise whose neighboring pixels are alike, as those of photos are."""
    torch.manual_seed(1)
    noise = torch.randn(count, channels, size + 2, size + 2)
    return torch.nn.functional.avg_pool2d(noise, 3, stride=1) + 0.1 * noise[:, :, 1:-1, 1:-1]


@pytest.fixture
def network() -> ResidualDiscriminator:
    torch.manual_seed(1)
    network = whitened_discriminator(size=32, channels=3, classes=10, width=0.125)
    with torch.no_grad():
        initialize_from_data(network, images(64))
    return network


@pytest.mark.parametrize(("size", "channels"), [(28, 1), (32, 3), (64, 3), (128, 1)])
def test_images_of_every_size_become_logits(size: int, channels: int) -> None:
    network = whitened_discriminator(size=size, channels=channels, classes=7, width=0.125)
    assert network(torch.zeros(2, channels, size, size)).shape == (2, 7)


@pytest.mark.parametrize("channels", [1, 3])
def test_patches_become_uncorrelated_numbers_of_variance_one(channels: int) -> None:
    layer = PatchWhitening(channels)
    whitened = layer.initialize(images(200, channels))
    size = 4 * channels
    assert whitened.shape == (200, 2 * size, 31, 31)
    torch.testing.assert_close(whitened[:, :size], -whitened[:, size:])
    rows = whitened[:, :size].transpose(0, 1).flatten(start_dim=1)
    torch.testing.assert_close(rows @ rows.T / rows.shape[1], torch.eye(size), atol=0.05, rtol=0)


def test_a_direction_without_variance_is_not_blown_up() -> None:
    """Every channel is the same: all but four components are nothing."""
    whitened = PatchWhitening(3).initialize(images(50, 1).expand(-1, 3, -1, -1))
    assert whitened.abs().max() < 20


def test_stages_pass_their_inputs_on_at_first(network: ResidualDiscriminator) -> None:
    for stage in network.body:
        if hasattr(stage, "convolution"):
            x = torch.randn(1, stage.convolution.in_channels, 8, 8)
            kept = min(x.shape[1], stage.convolution.out_channels)
            torch.testing.assert_close(stage.convolution(x)[:, :kept], x[:, :kept])
