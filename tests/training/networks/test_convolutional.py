"""The convolutional networks: sizes, the 2016 code's parameter counts, and who may see whom."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from igan_zoo.training.networks.convolutional import convolutional_discriminator, convolutional_generator
from igan_zoo.training.networks.layers import initialize_from_data
from igan_zoo.training.networks.players import Discriminator
from igan_zoo.training.networks.weight_norm import WeightNormConv2d
from igan_zoo.training.recipes.settings import SIZES


def discriminator(size: int = 32, filters: int = 8, channels: int = 3, form: str | None = None) -> Discriminator:
    return convolutional_discriminator(
        size=size,
        channels=channels,
        classes=10,
        filters=filters,
        input_dropout=0.2,
        dropout=0.5,
        input_noise=0.0,
        minibatch_discrimination=form,
    )


@pytest.mark.parametrize("size", SIZES["convolutional"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_allowed_size_has_networks(size: int, channels: int) -> None:
    generator = convolutional_generator(size=size, channels=channels, latent_size=10, filters=32)
    images = generator(torch.rand(3, 10))
    assert images.shape == (3, channels, size, size)
    assert images.abs().max() < 1
    network = discriminator(size, channels=channels)
    assert network.features(images).shape == (3, 16)
    assert network(images).shape == (3, 10)


def test_mnist_is_padded_to_32_pixels_and_the_rest_is_as_for_cifar() -> None:
    first = next(layer for layer in discriminator(28, channels=1).body if isinstance(layer, WeightNormConv2d))
    assert first(torch.zeros(1, 1, 28, 28)).shape[2:] == (32, 32)


def test_initialization_gives_every_layer_its_spread_in_one_pass() -> None:
    torch.manual_seed(1)
    generator = convolutional_generator(size=32, channels=3, latent_size=20, filters=32)
    network = discriminator(form="2016")
    initialize_from_data(generator, torch.rand(100, 20))
    before_tanh = nn.Sequential(*list(generator)[:-1])(torch.rand(100, 20))
    assert before_tanh.std().item() == pytest.approx(0.1, rel=0.1)
    images = torch.randn(100, 3, 32, 32)
    initialize_from_data(network, images)
    logits = network(images)
    # The spread is 0.1 for the noise that was drawn; another dropout mask gives about that.
    assert logits.std().item() == pytest.approx(0.1, rel=0.5)


@pytest.mark.parametrize("form", [None, "2016", "plain"])
def test_groups_do_not_see_each_other(form: str | None) -> None:
    """Also with minibatch discrimination, which compares within a group: changing one leaves the others alone."""
    torch.manual_seed(2)
    network = discriminator(form=form).eval()
    a, b, c = (torch.randn(6, 3, 32, 32) for _ in range(3))
    together = network.group_logits(a, b)
    for other in (b, c):
        torch.testing.assert_close(network.group_logits(a, other)[0], together[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network(b), together[1], rtol=1e-4, atol=1e-5)


def test_virtual_batch_normalization_makes_images_independent_of_their_batch() -> None:
    torch.manual_seed(3)
    reference = torch.rand(8, 10)
    generator = convolutional_generator(size=32, channels=3, latent_size=10, filters=32, reference=reference)
    latents = torch.rand(5, 10)

    def images(batch: Tensor) -> Tensor:
        result: Tensor = generator(batch)
        return result

    # Virtual batch normalization computes in float32 sums over the batch's places: equal to a few units in the last.
    torch.testing.assert_close(images(latents)[:2], images(latents[:2]), rtol=1e-4, atol=1e-5)
    assert images(latents).shape == (5, 3, 32, 32)
    trained = images(latents)
    generator.eval()
    torch.testing.assert_close(images(latents), trained, rtol=1e-4, atol=1e-5)


def test_batch_normalization_makes_them_dependent() -> None:
    """Guards the test above: it would notice."""
    torch.manual_seed(3)
    generator = convolutional_generator(size=32, channels=3, latent_size=10, filters=32)
    latents = torch.rand(5, 10)
    assert not torch.allclose(generator(latents)[:2], generator(latents[:2]), atol=1e-2)
