"""The paper's semi-supervised game on prepared features: a K+1 classifier, and a generator of features.

The players are those of ``mnist-ssl``, narrower. Beside the paper's losses the classifier hears, softly, what the
labels say after they have spread over the graph of nearest neighbors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's usual name

from igan_zoo.training.games.losses import feature_matching_loss, labelled_loss, realness_logits, unlabelled_loss
from igan_zoo.training.networks.layers import GaussianNoise, initialize_from_data
from igan_zoo.training.networks.normalization import BatchNormShift
from igan_zoo.training.networks.players import Discriminator, Generator
from igan_zoo.training.networks.weight_norm import WeightNormLinear
from igan_zoo.training.optimizers import Adam, ParameterAverage


@dataclass(frozen=True)
class GameSettings:
    """Sizes and weights of a game; ``steps`` of 100 photos each."""

    steps: int
    widths: tuple[int, ...] = (250, 250)
    input_noise: float = 0.3
    noise: float = 0.5
    latent_size: int = 100
    batch_size: int = 100
    learning_rate: float = 0.003
    averaging_rate: float = 0.001
    unlabeled_weight: float = 1.0
    entropy_weight: float = 0.0
    propagation_weight: float = 1.0
    generator_every: int = 1


def feature_classifier(inputs: int, classes: int, settings: GameSettings) -> Discriminator:
    """Weight-normalized layers with noise before each; the last hidden ones are matched."""
    layers: list[nn.Module] = []
    for index, (before, after) in enumerate(pairwise((inputs, *settings.widths))):
        noise = settings.input_noise if index == 0 else settings.noise
        layers += [GaussianNoise(noise), WeightNormLinear(before, after), nn.ReLU()]
    head = nn.Sequential(
        GaussianNoise(settings.noise), WeightNormLinear(settings.widths[-1], classes, train_scale=True)
    )
    return Discriminator(nn.Sequential(*layers), head)


def feature_generator(outputs: int, settings: GameSettings) -> Generator:
    """Uniform latents ``[N, L]`` to features as the classifier sees them."""
    return Generator(
        nn.Linear(settings.latent_size, 300, bias=False),
        BatchNormShift(300),
        nn.Softplus(),
        nn.Linear(300, 300, bias=False),
        BatchNormShift(300),
        nn.Softplus(),
        nn.Linear(300, outputs),
    )


def play(
    points: Tensor,
    labeled: Tensor,
    labels: Tensor,
    targets: Tensor,
    settings: GameSettings,
    seed: int,
    advance: Callable[[int], None] = lambda _: None,
) -> Discriminator:
    """Returns the averaged classifier of one game, in evaluation.

    ``points`` are prepared features ``[N, D]`` of all photos, ``labels`` int64 those of the photos ``labeled``;
    ``targets`` are the propagated probabilities ``[N, K]``. The same arguments give the same bits.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = feature_classifier(points.shape[1], targets.shape[1], settings)
        generator = feature_generator(points.shape[1], settings)
        initialize_from_data(classifier, points[torch.randperm(len(points))[:500]])
        average = ParameterAverage(classifier, settings.averaging_rate)
        learns = Adam(classifier.parameters(), settings.learning_rate)
        fools = Adam(generator.parameters(), settings.learning_rate)
        some = _batches(labeled, min(settings.batch_size, len(labeled)))
        real, matched = (_batches(torch.arange(len(points)), settings.batch_size) for _ in range(2))
        label_of = torch.full((len(points),), -1)
        label_of[labeled] = labels
        for step in range(settings.steps):
            learns.learning_rate = fools.learning_rate = settings.learning_rate * (1 - step / settings.steps)
            average.update()
            chosen, without = next(some), next(real)
            latents = torch.rand(settings.batch_size, settings.latent_size)
            with torch.no_grad():
                made = generator(latents)
            groups = classifier.group_logits(points[chosen], points[without], made)
            learns.take_gradients(_classifier_loss(groups, label_of[chosen], targets[without], settings))
            learns.descend()
            if step % settings.generator_every == 0:
                latents = torch.rand(settings.batch_size, settings.latent_size)
                with torch.no_grad():
                    wanted = classifier.features(points[next(matched)])
                fools.take_gradients(feature_matching_loss(wanted, classifier.features(generator(latents))))
                fools.descend()
            advance(1)
        classifier.load_state_dict(average.value(), strict=False)
        return classifier.eval().requires_grad_(False)


def _classifier_loss(groups: tuple[Tensor, ...], labels: Tensor, targets: Tensor, settings: GameSettings) -> Tensor:
    labeled, unlabeled, made = groups
    loss = labelled_loss(labeled, labels)
    if settings.unlabeled_weight:
        realness = realness_logits(unlabeled, explicit=False), realness_logits(made, explicit=False)
        loss = loss + settings.unlabeled_weight * unlabelled_loss(*realness)
    answers = F.log_softmax(unlabeled, dim=1)
    if settings.propagation_weight:
        loss = loss - settings.propagation_weight * (targets * answers).sum(dim=1).mean()
    if settings.entropy_weight:
        loss = loss - settings.entropy_weight * (answers.exp() * answers).sum(dim=1).mean()
    return loss


def _batches(indices: Tensor, size: int) -> Iterator[Tensor]:
    """Yields batches without end: one permutation of all indices after the other."""
    rest = indices[:0]
    while True:
        while len(rest) < size:
            rest = torch.cat([rest, indices[torch.randperm(len(indices))]])
        yield rest[:size]
        rest = rest[size:]
