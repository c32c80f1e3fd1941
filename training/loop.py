"""The training loop of the feature-matching experiments."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from igan_zoo import latents
from igan_zoo.errors import DataError, TrainingError
from igan_zoo.progress import Progress
from igan_zoo.training.checkpoints import (
    average_tensors,
    load_checkpoint,
    network_tensors,
    optimizer_tensors,
    restore,
    save_checkpoint,
)
from igan_zoo.training.layers import initialize_from_data
from igan_zoo.training.losses import feature_matching_loss, labelled_loss, unlabelled_loss
from igan_zoo.training.networks import OUTPUTS, Discriminator, mnist_discriminator, mnist_generator
from igan_zoo.training.optimizers import Adam, ParameterAverage
from igan_zoo.training.recipes import Output, Recipe
from igan_zoo.training.runs import Run
from igan_zoo.training.sources import LabelledImages
from igan_zoo.training.subsets import batches, epoch_order, labelled_subset, tiled_order, validation_subset

_GRID_IMAGES = 100


class Game:
    """The two players of a recipe, their optimizers, and the averaged discriminator that is tested."""

    def __init__(self, recipe: Recipe, classes: int) -> None:
        pixels = recipe.height * recipe.width * recipe.channels
        self.recipe = recipe
        self.generator = mnist_generator(recipe.latent_size, pixels, recipe.generator_output)
        self.discriminator: Discriminator = mnist_discriminator(pixels, classes)
        self.generator_optimizer = Adam(self.generator.parameters(), recipe.learning_rate)
        self.discriminator_optimizer = Adam(self.discriminator.parameters(), recipe.learning_rate)
        self.average = ParameterAverage(self.discriminator, recipe.averaging_rate)

    def set_output(self, output: Output) -> None:
        """Changes the last nonlinearity of the generator."""
        self.generator[-1] = OUTPUTS[output]()

    def generate(self) -> Tensor:
        """Draws a minibatch of generated images, ``[batch_size, pixels]``."""
        images: Tensor = self.generator(torch.rand(self.recipe.batch_size, self.recipe.latent_size))
        return images

    def discriminator_step(self, labelled: Tensor, labels: Tensor, unlabelled: Tensor) -> Tensor:
        """One step of the discriminator; returns labelled loss, unlabelled loss and labelled error, float32 ``[3]``."""
        with torch.no_grad():
            fake = self.generate()
        # One pass of all three batches: every example has its own noise and no layer mixes examples.
        logits = self.discriminator(torch.cat([labelled, unlabelled, fake]))
        known, real = len(labelled), len(labelled) + len(unlabelled)
        logits_labelled, logits_real, logits_fake = logits[:known], logits[known:real], logits[real:]
        supervised = labelled_loss(logits_labelled, labels)
        unsupervised = unlabelled_loss(logits_real, logits_fake)
        # The average takes the parameters from before the step, as in the 2016 code.
        self.average.update()
        self.discriminator_optimizer.descend(supervised + self.recipe.unlabelled_weight * unsupervised)
        error = (logits_labelled.detach().argmax(dim=1) != labels).float().mean()
        return torch.stack([supervised.detach(), unsupervised.detach(), error])

    def generator_step(self, unlabelled: Tensor) -> Tensor:
        """One step of the generator; returns the feature-matching loss, float32 ``[1]``."""
        # Gradients pass through the discriminator to the images, but its own are not needed.
        self.discriminator.requires_grad_(False)
        with torch.no_grad():
            features_real = self.discriminator.features(unlabelled)
        features_fake = self.discriminator.features(self.generate())
        loss = feature_matching_loss(features_real, features_fake)
        self.generator_optimizer.descend(loss)
        self.discriminator.requires_grad_(True)
        return loss.detach()[None]

    @torch.no_grad()
    def errors(self, images: Tensor, labels: Tensor, chunk: int = 1000) -> int:
        """Counts the wrong answers of the averaged discriminator, in evaluation mode, on uint8 ``[N, pixels]``."""
        self.discriminator.eval()
        average = self.average.value()
        wrong = 0
        for start in range(0, len(images), chunk):
            batch = slice(start, start + chunk)
            logits = torch.func.functional_call(self.discriminator, average, (to_unit(images[batch]),))
            wrong += int((logits.argmax(dim=1) != labels[batch]).sum())
        self.discriminator.train()
        return wrong

    @torch.no_grad()
    def samples(self) -> NDArray[np.uint8]:
        """Returns the generator's images of the first latents of seed 0, uint8 ``[100, H, W, C]``."""
        z = latents.latents(self.recipe.latent_size, "uniform", seed=0, start=0, count=_GRID_IMAGES)
        images = self.generator(torch.from_numpy(z)).clamp(0, 1).mul(255).round().to(torch.uint8).numpy()
        recipe = self.recipe
        shaped: NDArray[np.uint8] = images.reshape(-1, recipe.height, recipe.width, recipe.channels)
        return shaped

    def tensors(self) -> dict[str, Tensor]:
        """Returns every tensor that the next step depends on, by name; they share memory with the live ones."""
        return {
            **network_tensors("generator", self.generator),
            **network_tensors("discriminator", self.discriminator),
            **optimizer_tensors("generator_optimizer", self.generator_optimizer),
            **optimizer_tensors("discriminator_optimizer", self.discriminator_optimizer),
            **average_tensors("average", self.average),
        }

    def save(self, run: Run, epoch: int) -> None:
        """Writes a checkpoint of the state after ``epoch`` epochs.

        Raises:
            TrainingError: a value is not finite; the checkpoint before stays.
        """
        tensors = self.tensors()
        for name, tensor in tensors.items():
            if not name.endswith(("population_mean", "population_variance")) and not torch.isfinite(tensor).all():
                raise _diverged(run, epoch, name)
        facts = {"epoch": epoch, "average_updates": self.average.updates}
        save_checkpoint(run.checkpoint, {**tensors, "random_state": torch.get_rng_state()}, facts)

    def load(self, run: Run) -> int:
        """Restores the run's checkpoint and returns its epoch; the generator is as it was in the last one."""
        tensors, facts = load_checkpoint(run.checkpoint)
        torch.set_rng_state(tensors.pop("random_state"))
        restore(self.tensors(), tensors, run.checkpoint)
        self.average.updates = facts["average_updates"]
        epoch = int(facts["epoch"])
        self.set_output(self.recipe.output_at(max(epoch - 1, 0)))
        return epoch


@dataclass(frozen=True)
class TrainingSet:
    """A training set on the device: pixels uint8 ``[N, pixels]``, labels int64, and who sees which labels."""

    pixels: Tensor
    labels: Tensor
    labelled: Tensor
    validation: Tensor

    @staticmethod
    def create(recipe: Recipe, data: LabelledImages) -> TrainingSet:
        """Chooses the labelled and the validation examples of ``recipe``."""
        if len(data) < recipe.batch_size:
            raise DataError(f"The data has {len(data)} images, fewer than one batch of {recipe.batch_size}.")
        labelled = labelled_subset(data.labels, str(recipe.labels), data.classes, recipe.subset_seed)
        validation = validation_subset(data.labels, labelled, recipe.validation_images, recipe.subset_seed, exact=True)
        return TrainingSet(
            torch.from_numpy(data.images[:].reshape(len(data), -1)),
            torch.from_numpy(data.labels),
            torch.from_numpy(labelled),
            torch.from_numpy(validation),
        )

    def __len__(self) -> int:
        return len(self.labels)


def to_unit(pixels: Tensor) -> Tensor:
    """Maps uint8 pixels to float32 in [0, 1]."""
    return pixels.float() / 255


def train(recipe: Recipe, data: LabelledImages, run: Run, *, resume: bool) -> None:
    """Trains ``recipe`` on ``data`` in a started ``run``, from its checkpoint if ``resume``.

    On the CPU the result depends on nothing but the recipe, the data, the versions and the number of threads.

    Raises:
        TrainingError: a loss or a parameter is not finite; the last good checkpoint stays.
    """
    # Denormal numbers, which a saturated generator makes in plenty, are many times slower and mean nothing here.
    torch.set_flush_denormal(True)
    torch.manual_seed(recipe.seed)
    training_set = TrainingSet.create(recipe, data)
    game = Game(recipe, len(data.classes))
    if resume:
        first = game.load(run)
        run.rewind(first)
    else:
        first = 0
        order = epoch_order(len(data), recipe.seed, 0, "initialization")
        initialize_from_data(game.discriminator, to_unit(training_set.pixels[order[: recipe.initialization_images]]))
        game.save(run, 0)

    steps = len(data) // recipe.batch_size
    with Progress(recipe.name, recipe.epochs * steps, unit="steps", done=first * steps) as progress:
        for epoch in range(first, recipe.epochs):
            started = time.time()
            record = _epoch(recipe, game, training_set, run, epoch, progress)

            # Test the averaged parameters on the validation labels.
            validation = training_set.validation
            wrong = game.errors(training_set.pixels[validation], training_set.labels[validation])
            record["validation_error"] = wrong / len(validation)

            # Write down where we are.
            run.append(record, {"epoch": epoch + 1, "seconds": round(time.time() - started, 2)})
            game.save(run, epoch + 1)
            run.draw(game.samples())


def _epoch(
    recipe: Recipe, game: Game, training_set: TrainingSet, run: Run, epoch: int, progress: Progress
) -> dict[str, Any]:
    """Runs one epoch and returns its log record: the means over its steps."""
    # Set the learning rate and the generator's output of this epoch.
    rate = recipe.learning_rate_at(epoch)
    game.discriminator_optimizer.learning_rate = game.generator_optimizer.learning_rate = rate
    game.set_output(recipe.output_at(epoch))

    # Shuffle: the labelled set tiled, and one order of the unlabelled set for each player.
    total, size = len(training_set), recipe.batch_size
    labelled_batches = batches(tiled_order(len(training_set.labelled), total, recipe.seed, epoch), size)
    discriminator_batches = batches(epoch_order(total, recipe.seed, epoch, "discriminator"), size)
    generator_batches = batches(epoch_order(total, recipe.seed, epoch, "generator"), size)

    last = run.log()[-1:]
    shown = f"{last[0]['validation_error']:.4f}" if last else "-"
    sums = torch.zeros(4, dtype=torch.float64)
    steps = zip(labelled_batches, discriminator_batches, generator_batches, strict=True)
    for step, (chosen, seen_by_discriminator, seen_by_generator) in enumerate(steps, start=1):
        # Update the discriminator.
        labelled = training_set.labelled[chosen]
        d_losses = game.discriminator_step(
            to_unit(training_set.pixels[labelled]),
            training_set.labels[labelled],
            to_unit(training_set.pixels[seen_by_discriminator]),
        )
        # Update the generator, against other images.
        g_loss = game.generator_step(to_unit(training_set.pixels[seen_by_generator]))

        # Keep account.
        sums += torch.cat([d_losses, g_loss])
        means = (sums / step).tolist()
        if not all(map(math.isfinite, means)):
            raise _diverged(run, epoch + 1, f"a loss of step {step}")
        note = f"epoch {epoch + 1}  unlabelled {means[1]:.4f}  matching {means[3]:.4f}  error {shown}"
        progress.advance(1, note)

    labelled_mean, unlabelled_mean, error_mean, matching_mean = means
    return {
        "epoch": epoch + 1,
        "learning_rate": rate,
        "labelled_loss": labelled_mean,
        "unlabelled_loss": unlabelled_mean,
        "feature_matching_loss": matching_mean,
        "labelled_error": error_mean,
    }


def _diverged(run: Run, epoch: int, what: str) -> TrainingError:
    return TrainingError(
        f"Training diverged in epoch {epoch}: {what} is not finite; {run.checkpoint} is the last good state, "
        "and a lower --set learning_rate= in another --out may help."
    )
