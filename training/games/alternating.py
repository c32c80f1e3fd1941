"""The game of the 2016 MNIST, CIFAR-10 and SVHN scripts: the discriminator steps, then the generator."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from igan_zoo.training.data.augmentation import strong_view, weak_view
from igan_zoo.training.distributed import World
from igan_zoo.training.games.consistency import PseudoLabels, consistency_loss, pseudo_labels, taught_labels
from igan_zoo.training.games.game import Batches, Game, Losses, kept
from igan_zoo.training.games.losses import (
    absolute_feature_matching_loss,
    equilibrium_loss,
    feature_matching_loss,
    labelled_loss,
    minimax_loss,
    unlabelled_loss,
)
from igan_zoo.training.games.players import build_discriminator, build_generator
from igan_zoo.training.networks.layers import full_precision, initialize_from_data
from igan_zoo.training.networks.players import OUTPUTS, Discriminator, Generator
from igan_zoo.training.networks.weight_norm import held_weights
from igan_zoo.training.recipes.settings import Output, Recipe

_MATCHING: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "feature-matching": feature_matching_loss,
    "feature-matching-absolute": absolute_feature_matching_loss,
}


class AlternatingGame(Game):
    """One step of the discriminator, then one or more of the generator, which sees other images.

    Without labels, the discriminator has a single logit, that of "real".
    """

    generator: Generator | None
    discriminator: Discriminator
    _compiled = False

    def __init__(self, recipe: Recipe, classes: int, *, device: str = "cpu", world: World | None = None) -> None:
        super().__init__(
            recipe,
            build_generator(recipe) if recipe.generator else None,
            build_discriminator(recipe, classes if recipe.labels != "0" else 1),
            latent_size=recipe.latent_size,
            device=device,
            world=world,
        )
        self._consistency_weight = torch.zeros((), device=device)
        self._average_answers = True

    def initialize(self, images: Tensor) -> None:
        """Data-dependent initialization: the discriminator on ``images``, the generator on equally many latents."""
        if self.generator is not None and _has_initialization(self.generator):
            initialize_from_data(self.generator, self.generator.joined(self._latents(len(images))))
        if _has_initialization(self.discriminator):
            initialize_from_data(self.discriminator, images)

    def set_output(self, output: Output) -> None:
        """Changes the last nonlinearity of the dense MNIST generator; the others have only one."""
        if self.recipe.network == "mnist-dense" and self.generator is not None:
            self.generator[-1] = OUTPUTS[output]()

    def compile(self, mode: str) -> None:
        """Lets ``torch.compile`` fuse the losses of both players, networks included."""
        self._compiled = True
        self._discriminator_losses = torch.compile(self._discriminator_losses, mode=mode)  # type: ignore[method-assign]
        self._generator_loss = torch.compile(self._generator_loss, mode=mode)  # type: ignore[method-assign]

    def set_consistency(self, weight: float, *, average_answers: bool) -> None:
        """Sets the weight of the consistency loss in the next steps, and whether the average contributes to a teacher's
        targets.
        """
        self._consistency_weight.fill_(weight)
        self._average_answers = average_answers

    @property
    def measured_images(self) -> int:
        """How many real images :meth:`prepare_evaluation` measures."""
        return self.discriminator.measured_images

    def prepare_evaluation(self, real: Tensor) -> None:
        """Measures the population statistics of the averaged discriminator on ``real`` images, where it has any."""
        self.discriminator.measure(self.averaged("discriminator"), real)

    def step(self, batches: Batches) -> Losses:
        """One step of the discriminator and the recipe's number of steps of the generator."""
        of_discriminator, of_generator = batches.unlabelled or (None, None)
        losses = self.discriminator_step(batches.labelled, of_discriminator, batches.consistency)
        if batches.unlabelled is None:
            return losses
        with self._held_discriminator():
            for _ in range(self.recipe.generator_steps):
                losses |= self.generator_step(of_generator)
        return losses

    def _held_discriminator(self) -> AbstractContextManager[None]:
        """The discriminator does not change during generator steps; computing this once here lets a compiler fuse
        it.
        """
        if self._compiled:
            return nullcontext()
        return held_weights(self.discriminator, torch.bfloat16 if self.precision == "bfloat16" else None)

    def discriminator_step(
        self,
        labelled: tuple[Tensor, Tensor] | None,
        unlabelled: Tensor | None,
        consistency: tuple[Tensor, Tensor | None] | None = None,
    ) -> Losses:
        """One step of the discriminator on the batches it is given.

        ``labelled`` are images and labels, ``unlabelled`` is None without a generator, and on ``consistency`` the
        discriminator is trained to agree with its average, or with a teacher.
        """
        images, labels = labelled or (None, None)
        strong, pseudo = None, None
        if consistency is not None:
            weak = weak_view(consistency[0], self.recipe)
            strong = self._partly_strong(weak, self.recipe.strong_images)
            pseudo = self._pseudo_labels(weak, consistency[1])
        objective, losses = self._discriminator_losses(images, labels, unlabelled, strong, pseudo)
        self._penalized("discriminator", objective).backward()  # type: ignore[no-untyped-call]
        self._descend("discriminator")
        return kept(losses)

    def _changed_fake(self) -> Tensor:
        """Draws a minibatch of generated images, augmented like real ones."""
        return weak_view(self.generate(), self.recipe)

    def _partly_strong(self, weak: Tensor, share: float) -> Tensor:
        """Returns the weak views, with the first ``share`` of the batch replaced by strong ones."""
        strong = round(share * len(weak))
        return torch.cat([strong_view(weak[:strong], self.recipe), weak[strong:]]) if strong else weak

    @torch.no_grad()
    def _pseudo_labels(self, images: Tensor, teacher: Tensor | None) -> PseudoLabels:
        """Returns the pseudo-labels that the ``teacher``'s logits and the averaged discriminator give ``images``."""
        temperature, sure = self.recipe.teacher_temperature, self.recipe.consistency_confidence
        if teacher is not None and not self._average_answers:
            return taught_labels(teacher, None, temperature=temperature, sure=sure)
        # By the statistics of this batch.
        with self._precision():
            average = torch.func.functional_call(self.discriminator, self.averaged("discriminator"), (images,))
        average = full_precision(average)
        if teacher is None:
            return pseudo_labels(average, sure)
        return taught_labels(teacher, average, temperature=temperature, sure=sure)

    def _discriminator_losses(
        self,
        labelled: Tensor | None,
        labels: Tensor | None,
        unlabelled: Tensor | None,
        strong: Tensor | None,
        pseudo: PseudoLabels | None,
    ) -> tuple[Tensor, Losses]:
        groups = {"consistency": strong} if strong is not None else {}
        if labelled is not None:
            groups["labelled"] = self._partly_strong(weak_view(labelled, self.recipe), self.recipe.strong_labels)
        if unlabelled is not None:
            groups["real"] = weak_view(unlabelled, self.recipe)
            with torch.no_grad(), self._precision():
                groups["fake"] = self._changed_fake()
        with self._precision():
            outputs = self.discriminator.group_logits(*groups.values(), generated="fake" in groups)
        logits = {name: full_precision(output) for name, output in zip(groups, outputs, strict=True)}
        losses: Losses = {}
        objective = torch.zeros((), device=self.device)
        if labels is not None:
            losses["labelled_loss"] = objective = labelled_loss(logits["labelled"], labels)
            losses["labelled_error"] = (logits["labelled"].detach().argmax(dim=1) != labels).float().mean()
        if pseudo is not None:
            losses["consistency_loss"] = consistency_loss(logits["consistency"], pseudo)
            losses["confident_share"] = pseudo.weights.mean()
            objective = objective + self._consistency_weight * losses["consistency_loss"]
        if "fake" in logits:
            real, generated = self._realness(logits["real"]), self._realness(logits["fake"])
            losses["unlabelled_loss"] = unlabelled_loss(real, generated, self.recipe.real_target)
            objective = objective + self.recipe.unlabeled_weight * losses["unlabelled_loss"]
        return objective, losses

    def generator_step(self, unlabelled: Tensor | None) -> Losses:
        """One step of the generator; only feature matching compares with ``unlabelled``."""
        # Gradients pass through the discriminator to the images, but its own gradients are not needed.
        self.discriminator.requires_grad_(False)
        objective = self._generator_loss(unlabelled)
        self._penalized("generator", objective).backward()  # type: ignore[no-untyped-call]
        self._descend("generator")
        self.discriminator.requires_grad_(True)
        name = "feature_matching_loss" if self.recipe.matches_features else "generator_loss"
        return kept({name: objective})

    def _generator_loss(self, unlabelled: Tensor | None) -> Tensor:
        with self._precision():
            if self.recipe.matches_features:
                if unlabelled is None:
                    raise ValueError("feature matching needs real images")
                with torch.no_grad():
                    features_real = full_precision(self.discriminator.features(weak_view(unlabelled, self.recipe)))
                with self.discriminator.judging_generated():
                    features_fake = full_precision(self.discriminator.features(self._changed_fake()))
                return _MATCHING[self.recipe.objective](features_real, features_fake)
            with self.discriminator.judging_generated():
                logits = full_precision(self.discriminator(self._changed_fake()))
        realness = self._realness(logits)
        if self.recipe.objective == "minimax":
            return minimax_loss(realness)
        return equilibrium_loss(realness, self.recipe.real_target)


def _has_initialization(network: nn.Module) -> bool:
    """Whether a layer of ``network`` has a data-dependent initialization."""
    return any(hasattr(module, "initialize") for module in network.modules())
