"""The two players of a recipe with all the state they carry from step to step: optimizers, averages, history."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from igan_zoo import latents
from igan_zoo.errors import TrainingError
from igan_zoo.training.data.training_set import to_pixels
from igan_zoo.training.distributed import World
from igan_zoo.training.games.historical import HistoricalAverage
from igan_zoo.training.games.losses import realness_logits
from igan_zoo.training.optimizers import Adam, NesterovMomentum, ParameterAverage
from igan_zoo.training.precision import autocast, resolved_precision
from igan_zoo.training.recipes.settings import Output, Recipe
from igan_zoo.training.runs.checkpoints import average_tensors, history_tensors, network_tensors, optimizer_tensors

# What a step reports: scalars on the device, by their names in the log.
Losses = dict[str, Tensor]

_EVALUATION_BATCH = 500

# Names of the players' averages in a checkpoint.
_AVERAGES = {"generator": "generator_average", "discriminator": "average"}


@dataclass(frozen=True)
class Batches:
    """The inputs of one step, in the networks' format, before any augmentation.

    ``labelled`` is None without labels. ``unlabelled`` has one batch for each player; it is None without a generator,
    and the generator's batch is None if its objective does not compare with real images. ``consistency`` is None
    without a consistency loss; otherwise it has the images and a teacher's logits ``[N, K]``, or None without a
    teacher.
    """

    labelled: tuple[Tensor, Tensor] | None
    unlabelled: tuple[Tensor, Tensor | None] | None
    consistency: tuple[Tensor, Tensor | None] | None = None


class Game:
    """What the games of all recipes share. Subclasses define how the players step.

    ``generator`` is None if only a classifier is trained. The averaged discriminator is the one tested.
    """

    generator: nn.Module | None
    discriminator: nn.Module

    def __init__(
        self,
        recipe: Recipe,
        generator: nn.Module | None,
        discriminator: nn.Module,
        *,
        latent_size: int,
        device: str = "cpu",
        world: World | None = None,
    ) -> None:
        self.recipe = recipe
        self.device = device
        self.precision = resolved_precision(recipe.precision, device)
        self.world = world or World()
        self.latent_size = latent_size
        self.generator = _placed(generator, device) if generator is not None else None
        self.discriminator = _placed(discriminator, device)
        self.optimizers = {name: self._optimizer(name, network) for name, network in self.players()}
        weight = recipe.historical_averaging
        self.histories = {
            name: HistoricalAverage(network.parameters(), weight) for name, network in self.players() if weight > 0
        }
        # Differs from the 2016 code: the generator may also have an average.
        rates = {"generator": recipe.generator_averaging_rate, "discriminator": recipe.averaging_rate}
        self.averages = {
            name: ParameterAverage(network, rate)
            for name, network in self.players()
            if (rate := rates[name]) is not None
        }

    def _optimizer(self, player: str, network: nn.Module) -> Adam | NesterovMomentum:
        recipe = self.recipe
        if player == "discriminator" and recipe.optimizer == "sgd":
            return NesterovMomentum(
                network.named_parameters(),
                recipe.learning_rate,
                weight_decay=recipe.weight_decay,
                shift_rate=recipe.shift_rate,
                world=self.world,
            )
        outside = recipe.adam_epsilon == "outside"
        return Adam(network.parameters(), recipe.learning_rate, epsilon_outside=outside, world=self.world)

    def players(self) -> Iterator[tuple[str, nn.Module]]:
        """Yields the networks by name, the generator first if there is one."""
        if self.generator is not None:
            yield "generator", self.generator
        yield "discriminator", self.discriminator

    def initialize(self, images: Tensor) -> None:
        """Data-dependent initialization on real ``images``, for networks that have it."""

    def step(self, batches: Batches) -> Losses:
        """One step of both players; returns what to log about it."""
        raise NotImplementedError

    @property
    def measured_images(self) -> int:
        """How many real images :meth:`prepare_evaluation` measures."""
        return self.recipe.batch_size

    def prepare_evaluation(self, real: Tensor) -> None:
        """Measures, on ``real`` images, what the networks need for evaluation but training does not track."""

    def compile(self, mode: str) -> None:
        """Lets ``torch.compile`` fuse what it can; "reduce-overhead" uses CUDA graphs on a GPU."""
        raise NotImplementedError

    def set_learning_rate(self, rate: float) -> None:
        """Sets the rate of the discriminator's next steps, and the generator's in proportion."""
        recipe = self.recipe
        generator_rate = rate * (recipe.generator_learning_rate or recipe.learning_rate) / recipe.learning_rate
        for player, optimizer in self.optimizers.items():
            optimizer.learning_rate = generator_rate if player == "generator" else rate

    def set_consistency(self, weight: float, *, average_answers: bool) -> None:
        """Sets the weight of the consistency loss in the next steps, if the game has one, and whose predictions it
        uses.
        """

    def restart_optimizers(self) -> None:
        """Prepares both players for an objective that differs from that of the steps so far."""
        for optimizer in self.optimizers.values():
            optimizer.restart()

    def set_output(self, output: Output) -> None:
        """Changes the last nonlinearity of a generator that supports it."""

    def generate(self) -> Tensor:
        """Draws a minibatch of generated images, as the discriminator sees them.

        Raises:
            TrainingError: the recipe has no generator.
        """
        images: Tensor = self._generator()(self._latents(self.recipe.batch_size))
        return images

    def _generator(self) -> nn.Module:
        if self.generator is None:
            raise TrainingError("This recipe has no generator (generator=false).")
        return self.generator

    def _latents(self, count: int) -> Tensor:
        shape = (count, self.latent_size)
        match self.recipe.latent_distribution:
            case "uniform":
                return torch.rand(shape, device=self.device)
            case "symmetric-uniform":
                return torch.rand(shape, device=self.device) * 2 - 1
            case "normal":
                return torch.randn(shape, device=self.device)

    def _realness(self, logits: Tensor) -> Tensor:
        return realness_logits(logits, explicit=self.recipe.explicit_generated_class)

    def _penalized(self, player: str, objective: Tensor) -> Tensor:
        """Adds the cost of historical averaging to a player's loss."""
        return objective + self.histories[player].penalty() if player in self.histories else objective

    def _descend(self, player: str) -> None:
        """One optimizer step of a player whose gradients are computed, and the update of its averages."""
        if player in self.averages:
            # The average takes the parameters from before the step, as in the 2016 code.
            self.averages[player].update()
        self.optimizers[player].descend()
        if player in self.histories:
            self.histories[player].update()

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        return autocast(self.precision, self.device)

    @property
    def evaluation_batch(self) -> int:
        """Number of images to classify at once: the training batch if outputs depend on the batch."""
        return self.recipe.batch_size if self.recipe.minibatch_discrimination else _EVALUATION_BATCH

    @torch.no_grad()
    def predictions(self, images: Tensor) -> Tensor:
        """Returns the class that the averaged discriminator gives each image in evaluation mode, int64 ``[N]``.

        With minibatch discrimination, an answer depends on the other images in its batch, as in the 2016 code.
        """
        return self.class_logits(images).argmax(dim=1)

    @torch.no_grad()
    def class_logits(self, images: Tensor) -> Tensor:
        """Returns the logits behind :meth:`predictions`, ``[N, K]``; the class "generated" has the fixed logit zero."""
        self.discriminator.eval()
        logits: Tensor = torch.func.functional_call(self.discriminator, self.averaged("discriminator"), (images,))
        self.discriminator.train()
        return logits[:, :-1] - logits[:, -1:] if self.recipe.explicit_generated_class else logits

    def averaged(self, player: str) -> dict[str, Tensor]:
        """Returns the averaged parameters of a player by name; none without an average."""
        return self.averages[player].value() if player in self.averages else {}

    @torch.no_grad()
    def samples(self, count: int) -> NDArray[np.uint8]:
        """Returns the generator's images of the first latents of seed 0, uint8 ``[count, H, W, C]``."""
        return to_pixels(self._images(count, seed=0), self.recipe)

    def _images(self, count: int, seed: int) -> Tensor:
        """Returns the images of the first addressed latents of ``seed``, as the discriminator sees them."""
        z = latents.latents(self.latent_size, self.recipe.latent_distribution, seed=seed, start=0, count=count)
        inputs = torch.from_numpy(z).to(self.device)
        images: Tensor = torch.func.functional_call(self._generator(), self.averaged("generator"), (inputs,))
        return images

    def tensors(self) -> dict[str, Tensor]:
        """Returns every tensor that the next step depends on, by name; they share memory with the live ones."""
        tensors: dict[str, Tensor] = {}
        for name, network in self.players():
            tensors |= network_tensors(name, network)
        for name, optimizer in self.optimizers.items():
            tensors |= optimizer_tensors(f"{name}_optimizer", optimizer)
        for name, history in self.histories.items():
            tensors |= history_tensors(f"{name}_history", history)
        for name, average in self.averages.items():
            tensors |= average_tensors(_AVERAGES[name], average)
        return tensors

    def counters(self) -> dict[str, Any]:
        """Returns the number of updates of each average, for a checkpoint."""
        averages = {f"{_AVERAGES[name]}_updates": average.updates for name, average in self.averages.items()}
        return {**averages, "history_updates": {name: history.updates for name, history in self.histories.items()}}

    def restore_counters(self, counters: dict[str, Any]) -> None:
        """Restores what :meth:`counters` returned, after the tensors are restored.

        Raises:
            TrainingError: it does not come from such a game.
        """
        for optimizer in self.optimizers.values():
            optimizer.count_steps()
        try:
            for name, average in self.averages.items():
                average.updates = int(counters[f"{_AVERAGES[name]}_updates"])
            for name, history in self.histories.items():
                history.updates = int(counters["history_updates"][name])
        except (KeyError, TypeError, ValueError) as error:
            raise TrainingError("The checkpoint is damaged: it lacks the updates of its averages.") from error


def answer_batches(total: int, size: int) -> Iterator[tuple[NDArray[np.int64], slice]]:
    """Yields the indices of batches of ``size`` that cover ``total`` images, and which of each are new.

    The last batch overlaps the one before it, as in the 2016 SVHN scripts: with minibatch discrimination, an answer
    depends on the batch size. Fewer images than ``size`` form one batch.

    # Differs from the 2016 code: its SVHN script for minibatch discrimination counts the overlapping images twice.
    """
    for start in range(0, total, size):
        first = max(0, min(start, total - size))
        yield np.arange(first, min(first + size, total)), slice(start - first, None)


def kept(losses: Losses) -> Losses:
    """Returns copies: the next CUDA graph overwrites the memory that holds the results of this one."""
    return {name: loss.detach().clone() for name, loss in losses.items()}


def _placed(network: nn.Module, device: str) -> nn.Module:
    # Channels last is faster for convolutions, both on CPUs and on tensor cores; other tensors are unchanged.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.to(device)
