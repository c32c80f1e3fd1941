"""The game of the 2016 ImageNet code: both players step at once, on the same generated images."""

from __future__ import annotations

import torch
from torch import Tensor

from igan_zoo.latents import REFERENCE_SEED
from igan_zoo.training.data.augmentation import weak_view
from igan_zoo.training.distributed import World
from igan_zoo.training.games.game import Batches, Game, Losses, kept
from igan_zoo.training.games.losses import equilibrium_loss, labelled_loss, unlabelled_loss
from igan_zoo.training.networks.layers import full_precision
from igan_zoo.training.networks.multi_scale import MultiScaleDiscriminator, MultiScaleGenerator
from igan_zoo.training.recipes.settings import Recipe


class SimultaneousGame(Game):
    """Real and generated images pass through the discriminator together, compared with each other, and both players
    learn.

    Both batches of real images are one: the visible labels in it are learned at the same time.
    """

    generator: MultiScaleGenerator
    discriminator: MultiScaleDiscriminator

    def __init__(self, recipe: Recipe, classes: int, *, device: str = "cpu", world: World | None = None) -> None:
        generator = MultiScaleGenerator(
            size=recipe.height,
            width=recipe.network_width,
            references=recipe.batch_size,
            reference_seed=REFERENCE_SEED + recipe.seed,
        )
        discriminator = MultiScaleDiscriminator(
            classes=classes if recipe.labels != "0" else 1,
            references=recipe.batch_size,
            size=recipe.height,
            width=recipe.network_width,
        )
        super().__init__(
            recipe,
            generator,
            discriminator,
            latent_size=generator.latent_size,
            device=device,
            world=world,
        )

    def compile(self, mode: str) -> None:
        """Lets ``torch.compile`` fuse the losses of both players, networks included."""
        self._losses = torch.compile(self._losses, mode=mode)  # type: ignore[method-assign]

    @torch.no_grad()
    def prepare_evaluation(self, real: Tensor) -> None:
        """Measures what both networks need to evaluate single images, on ``real`` and equally many generated images."""
        self.generator.measure()
        self.discriminator.measure(real, self._images(len(real), seed=REFERENCE_SEED))

    def step(self, batches: Batches) -> Losses:
        """One step of both players, with all gradients computed before either moves."""
        if batches.labelled is None:
            raise ValueError("this game needs real images with their labels, -1 where none may be seen")
        real, labels = batches.labelled
        objective, losses = self._losses(real, labels)
        self.optimizers["discriminator"].take_gradients(self._penalized("discriminator", objective))
        self.optimizers["generator"].take_gradients(self._penalized("generator", losses["generator_loss"]))
        for player, _ in self.players():
            self._descend(player)
        return kept(losses)

    def _losses(self, real: Tensor, labels: Tensor) -> tuple[Tensor, Losses]:
        """Returns the discriminator's objective, and the losses by name."""
        recipe = self.recipe
        with self._precision():
            changed, fake = weak_view(real, recipe), weak_view(self.generate(), recipe)
            logits_real, logits_fake = self.discriminator.joint_logits(changed, fake)
        logits_real, logits_fake = full_precision(logits_real), full_precision(logits_fake)
        realness_real, realness_fake = self._realness(logits_real), self._realness(logits_fake)
        losses: Losses = {
            "unlabelled_loss": unlabelled_loss(realness_real, realness_fake, recipe.real_target),
            "generator_loss": equilibrium_loss(realness_fake, recipe.real_target),
        }
        objective = recipe.unlabeled_weight * losses["unlabelled_loss"]
        if recipe.labels != "0":
            losses["labelled_loss"] = labelled_loss(logits_real, labels)
            known = labels >= 0
            wrong = (logits_real.detach()[:, :-1].argmax(dim=1) != labels) & known
            losses["labelled_error"] = wrong.sum() / known.sum().clamp(min=1)
            objective = objective + losses["labelled_loss"]
        return objective, losses
