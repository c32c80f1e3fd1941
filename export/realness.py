"""Realness for a classifier trained without a generator: real images against another run's generated ones.

The softmax of logits does not change when the same number is added to all of them, and D(x) = Z / (Z + 1) does, where Z
is the sum of their exponentials. So a linear function of the features, added to every logit, teaches a finished
classifier what is real and leaves its classes and probabilities as they are.

# Differs from the paper: there, D is trained together with the classes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's usual name

from igan_zoo.errors import TrainingError
from igan_zoo.export.freeze import ImageGenerator
from igan_zoo.images.pixels import ImageArray
from igan_zoo.latents import latents
from igan_zoo.training.data.training_set import to_network
from igan_zoo.training.networks.players import Discriminator
from igan_zoo.training.weights import TrainedNetworks

IMAGES = 5000  # real ones, and as many generated ones
_BATCH = 250


def with_realness(networks: TrainedNetworks, real: ImageArray) -> TrainedNetworks:
    """Returns ``networks`` whose realness tells ``real`` training images, uint8 ``[N, H, W, C]``, from generated ones.

    Raises:
        TrainingError: there are several classifiers, no generator, or a classifier whose last layer is not linear.
    """
    if len(networks.discriminators) != 1 or networks.generator is None:
        raise TrainingError("Realness is trained for one classifier and a generator; export such a run.")
    discriminator = copy.deepcopy(networks.discriminators[0])
    if not isinstance(discriminator, Discriminator) or not isinstance(discriminator.head[-1], nn.Linear):
        raise TrainingError(f"Realness cannot be added to the last layer of network={networks.recipe.network}.")
    count = min(IMAGES, len(real))
    chosen = np.sort(np.random.default_rng(0).choice(len(real), count, replace=False))
    sides = (real[chosen[start : start + _BATCH]] for start in range(0, count, _BATCH)), _generated(networks, count)
    with torch.no_grad():
        inputs = [torch.cat([_inputs_of_head(networks, discriminator, batch) for batch in side]) for side in sides]
        log_z = [discriminator.head[-1](rows).logsumexp(dim=1) for rows in inputs]
    weights, bias = separating_line(torch.cat(inputs), torch.cat(log_z), real=len(inputs[0]))
    with torch.no_grad():
        discriminator.head[-1].weight.add_(weights)
        discriminator.head[-1].bias.add_(bias)
    return replace(networks, discriminators=(discriminator,))


def _generated(networks: TrainedNetworks, count: int) -> Iterator[NDArray[np.uint8]]:
    assert networks.generator is not None  # noqa: S101 - looked at before
    recipe = networks.generator_recipe
    generator = ImageGenerator(networks.generator, recipe).eval()
    for start in range(0, count, _BATCH):
        size = min(_BATCH, count - start)
        z = latents(networks.latent_size, recipe.latent_distribution, seed=1, start=start, count=size)
        with torch.no_grad():
            images: NDArray[np.uint8] = generator(torch.from_numpy(z)).numpy()
        yield images


def _inputs_of_head(networks: TrainedNetworks, discriminator: Discriminator, images: NDArray[np.uint8]) -> Tensor:
    rows = discriminator.features(to_network(torch.from_numpy(images), networks.recipe))
    inputs: Tensor = discriminator.head[:-1](rows)
    return inputs


def separating_line(features: Tensor, log_z: Tensor, *, real: int) -> tuple[Tensor, Tensor]:
    """Returns weights ``[F]`` and a bias with which ``log_z + features · weights + bias`` is the log odds of "real".

    The first ``real`` of the ``features [N, F]`` are those of real images. Logistic regression beside the given
    ``log_z [N]``, of standardized features, with a penalty on the squares of its weights of 1 / N.
    """
    center, scale = features.double().mean(dim=0), features.double().std(dim=0).clamp(min=1e-6)
    rows, offset = (features.double() - center) / scale, log_z.double()
    targets = (torch.arange(len(rows)) < real).double()
    line = torch.zeros(rows.shape[1] + 1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([line], max_iter=500, tolerance_grad=1e-7, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        odds = offset + rows @ line[:-1] + line[-1]
        value = F.binary_cross_entropy_with_logits(odds, targets) + line[:-1].square().sum() / len(rows)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    weights = line.detach()[:-1] / scale
    return weights.float(), (line.detach()[-1] - weights @ center).float()
