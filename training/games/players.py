"""The networks that a recipe of the alternating game names, built from its settings."""

from __future__ import annotations

import torch
from torch import Tensor

from igan_zoo.latents import REFERENCE_SEED, latents
from igan_zoo.training.networks.convolutional import convolutional_discriminator, convolutional_generator
from igan_zoo.training.networks.players import Discriminator, Generator, mnist_discriminator, mnist_generator, scaled
from igan_zoo.training.networks.residual import residual_discriminator
from igan_zoo.training.networks.whitened import whitened_discriminator
from igan_zoo.training.recipes.settings import Recipe

# Of the first layer of the 2016 CIFAR-10 generator.
GENERATOR_FILTERS = 512
# The discriminators with batch normalization.
_NORMALIZED = {"residual": residual_discriminator, "whitened": whitened_discriminator}


def build_generator(recipe: Recipe) -> Generator:
    """Returns the recipe's generator, its parameters drawn from torch's stream."""
    if recipe.network == "mnist-dense":
        pixels = recipe.height * recipe.width * recipe.channels
        return mnist_generator(recipe.latent_size, pixels, recipe.generator_output)
    return convolutional_generator(
        size=recipe.height,
        channels=recipe.channels,
        latent_size=recipe.latent_size,
        filters=scaled(GENERATOR_FILTERS, recipe.network_width),
        reference=_reference(recipe) if recipe.normalization == "virtual-batch" else None,
    )


def build_discriminator(recipe: Recipe, classes: int) -> Discriminator:
    """Returns the recipe's discriminator of ``classes`` real classes."""
    if recipe.network == "mnist-dense":
        return mnist_discriminator(recipe.height * recipe.width * recipe.channels, classes)
    if recipe.network in _NORMALIZED:
        build = _NORMALIZED[recipe.network]
        return build(size=recipe.height, channels=recipe.channels, classes=classes, width=recipe.network_width)
    return convolutional_discriminator(
        size=recipe.height,
        channels=recipe.channels,
        classes=classes,
        filters=scaled(recipe.discriminator_filters, recipe.network_width),
        input_dropout=recipe.input_dropout,
        dropout=recipe.dropout,
        input_noise=recipe.input_noise,
        minibatch_discrimination=recipe.minibatch_discrimination,
        logit_stddev=recipe.logit_stddev,
    )


def _reference(recipe: Recipe) -> Tensor:
    """Returns latents ``[batch_size, latent_size]`` that depend on the seed alone, so all processes have the same."""
    seed, count = REFERENCE_SEED + recipe.seed, recipe.batch_size
    return torch.from_numpy(latents(recipe.latent_size, recipe.latent_distribution, seed=seed, start=0, count=count))
