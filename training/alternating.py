"""The game of the 2016 MNIST, CIFAR-10 and SVHN scripts: the discriminator steps, then the generator."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from igan_zoo.training.distributed import World
from igan_zoo.training.game import Batches, Game, Losses, full_precision
from igan_zoo.training.layers import initialize_from_data
from igan_zoo.training.losses import (
    absolute_feature_matching_loss,
    equilibrium_loss,
    feature_matching_loss,
    labelled_loss,
    minimax_loss,
    unlabelled_loss,
)
from igan_zoo.training.networks import OUTPUTS, Discriminator, Generator
from igan_zoo.training.players import build_discriminator, build_generator
from igan_zoo.training.settings import Output, Recipe

_MATCHING: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "feature-matching": feature_matching_loss,
    "feature-matching-absolute": absolute_feature_matching_loss,
}


class AlternatingGame(Game):
    """One step of the discriminator, then one or more of the generator, which sees other images.

    Without labels the discriminator has one logit, that of "real".
    """

    generator: Generator | None
    discriminator: Discriminator

    def __init__(self, recipe: Recipe, classes: int, *, device: str = "cpu", world: World | None = None) -> None:
        super().__init__(
            recipe,
            build_generator(recipe) if recipe.generator else None,
            build_discriminator(recipe, classes if recipe.labels != "0" else 1),
            latent_size=recipe.latent_size,
            device=device,
            world=world,
        )

    def initialize(self, images: Tensor) -> None:
        """Data-dependent initialization: the discriminator on ``images``, the generator on as many latents."""
        if self.generator is not None and _has_initialization(self.generator):
            initialize_from_data(self.generator, self.generator.joined(self._latents(len(images))))
        initialize_from_data(self.discriminator, images)

    def set_output(self, output: Output) -> None:
        """Changes the last nonlinearity of the dense MNIST generator; the others have one only."""
        if self.recipe.network == "mnist-dense" and self.generator is not None:
            self.generator[-1] = OUTPUTS[output]()

    def compile(self, mode: str) -> None:
        """Lets ``torch.compile`` fuse the losses of both players, networks included."""
        self._discriminator_losses = torch.compile(self._discriminator_losses, mode=mode)  # type: ignore[method-assign]
        self._generator_loss = torch.compile(self._generator_loss, mode=mode)  # type: ignore[method-assign]

    def step(self, batches: Batches) -> Losses:
        """One step of the discriminator and the recipe's number of steps of the generator."""
        labelled, labels = batches.labelled or (None, None)
        if batches.unlabelled is None:
            return self.discriminator_step(labelled, labels, None)
        of_discriminator, of_generator = batches.unlabelled
        losses = self.discriminator_step(labelled, labels, of_discriminator)
        for _ in range(self.recipe.generator_steps):
            losses |= self.generator_step(of_generator)
        return losses

    def discriminator_step(self, labelled: Tensor | None, labels: Tensor | None, unlabelled: Tensor | None) -> Losses:
        """One step of the discriminator; ``labelled`` is None without labels, ``unlabelled`` without a generator."""
        fake = None
        if unlabelled is not None:
            with torch.no_grad(), self._precision():
                fake = self.generate()
        objective, losses = self._discriminator_losses(labelled, labels, unlabelled, fake)
        self._penalized("discriminator", objective).backward()  # type: ignore[no-untyped-call]
        self._descend("discriminator")
        return losses

    def _discriminator_losses(
        self, labelled: Tensor | None, labels: Tensor | None, unlabelled: Tensor | None, fake: Tensor | None
    ) -> tuple[Tensor, Losses]:
        given = {"labelled": labelled, "real": unlabelled, "fake": fake}
        groups = {name: images for name, images in given.items() if images is not None}
        with self._precision():
            outputs = self.discriminator.group_logits(*groups.values())
        logits = {name: full_precision(output) for name, output in zip(groups, outputs, strict=True)}
        losses: Losses = {}
        objective = torch.zeros((), device=self.device)
        if labels is not None:
            losses["labelled_loss"] = objective = labelled_loss(logits["labelled"], labels)
            losses["labelled_error"] = (logits["labelled"].detach().argmax(dim=1) != labels).float().mean()
        if "fake" in logits:
            real, generated = self._realness(logits["real"]), self._realness(logits["fake"])
            losses["unlabelled_loss"] = unlabelled_loss(real, generated, self.recipe.real_target)
            objective = objective + self.recipe.unlabeled_weight * losses["unlabelled_loss"]
        return objective, {name: loss.detach() for name, loss in losses.items()}

    def generator_step(self, unlabelled: Tensor) -> Losses:
        """One step of the generator; feature matching compares with ``unlabelled``, the other objectives do not."""
        # Gradients pass through the discriminator to the images, but its own are not needed.
        self.discriminator.requires_grad_(False)
        objective = self._generator_loss(unlabelled)
        self._penalized("generator", objective).backward()  # type: ignore[no-untyped-call]
        self._descend("generator")
        self.discriminator.requires_grad_(True)
        name = "feature_matching_loss" if self.recipe.objective in _MATCHING else "generator_loss"
        return {name: objective.detach()}

    def _generator_loss(self, unlabelled: Tensor) -> Tensor:
        with self._precision():
            if self.recipe.objective in _MATCHING:
                with torch.no_grad():
                    features_real = full_precision(self.discriminator.features(unlabelled))
                features_fake = full_precision(self.discriminator.features(self.generate()))
                return _MATCHING[self.recipe.objective](features_real, features_fake)
            logits = full_precision(self.discriminator(self.generate()))
        realness = self._realness(logits)
        if self.recipe.objective == "minimax":
            return minimax_loss(realness)
        return equilibrium_loss(realness, self.recipe.real_target)


def _has_initialization(network: nn.Module) -> bool:
    """Whether a layer of ``network`` has a data-dependent initialization."""
    return any(hasattr(module, "initialize") for module in network.modules())
