"""The training loop: epochs of steps, a log row per epoch, and periodic checkpoints."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from igan_zoo.counts import counted
from igan_zoo.errors import OutOfTimeError, TrainingError
from igan_zoo.images.labeled import LabeledImages
from igan_zoo.images.pixels import grid
from igan_zoo.machine.progress import Progress
from igan_zoo.training.data.epoch_batches import EpochBatches, epoch_length
from igan_zoo.training.data.subsets import epoch_order
from igan_zoo.training.data.training_set import TrainingSet
from igan_zoo.training.distributed import World
from igan_zoo.training.games.choice import new_game
from igan_zoo.training.games.game import Game, answer_batches
from igan_zoo.training.recipes.settings import Recipe
from igan_zoo.training.runs.checkpoints import fits, load_checkpoint, restore, save_checkpoint
from igan_zoo.training.runs.directory import Run
from igan_zoo.training.runs.interruption import Interruption
from igan_zoo.training.runs.position import Position
from igan_zoo.training.runs.random_states import random_states, restore_random_states, split_random_states
from igan_zoo.training.runs.saving import SaveClock
from igan_zoo.training.runs.tensorboard import TensorBoardLog
from igan_zoo.training.teaching import model_weights, taught
from igan_zoo.training.weights import load_networks

# Steps between checks of the losses: on a GPU, each check waits for the device.
_STEPS_BETWEEN_LOOKS = 20


@dataclass(frozen=True)
class Options:
    """How a run is carried out, not what it computes."""

    device: str = "cpu"
    compile: str | None = None  # a mode of torch.compile
    checkpoint_seconds: float = 300.0  # at most so long between two checkpoints
    picture_steps: int | None = None  # a picture of the samples every so many steps
    tensorboard: bool = False
    deadline: float | None = None  # of time.monotonic(): save then, and stop


class Training:
    """A run in progress: the game, its data, and its position."""

    def __init__(
        self, recipe: Recipe, data: LabeledImages, run: Run, *, options: Options, world: World | None = None
    ) -> None:
        self.recipe, self.run, self.options = recipe, run, options
        self.world = world or World()
        self.training_set = TrainingSet.create(recipe, data, options.device)
        if recipe.teachers:
            answers = taught(self.training_set, data.classes, run.teacher, self.world)
            self.training_set = replace(self.training_set, taught=answers)
        self.game = new_game(recipe, len(data.classes), device=options.device, world=self.world)
        self.position = Position()
        self.clock = SaveClock(options.checkpoint_seconds)
        self.interruption = Interruption()
        self._timed = time.monotonic()  # up to here the run's time is written down
        images = epoch_length(self.training_set)
        self.steps = images // (recipe.batch_size * self.world.size)
        if self.steps == 0:
            raise TrainingError(
                f"An epoch of {counted(images, 'image')} is too small for a batch of {recipe.batch_size} in each of "
                f"{self.world.size} processes; lower --set batch_size."
            )

    def start(self) -> None:
        """Initializes the networks from the data and saves the state before the first step."""
        # Differs from the 2016 code: its CIFAR-10 and SVHN scripts take the first images of the tiled labelled set, and
        # one batch of latents for the generator. The same number from the whole set changes the scales by about 1 %.
        recipe = self.recipe
        order = epoch_order(len(self.training_set), recipe.seed, 0, "initialization")[: recipe.initialization_images]
        self.game.initialize(self.training_set.batch(order))
        if recipe.start_from is not None:
            start_from(self.game, model_weights(recipe.start_from, "start_from"))
        # The passes that initialized them may differ in the last bits between processors.
        self.world.share_first(self.game.tensors().values())
        # From here on, each process has its own noise.
        if self.world.rank > 0:
            torch.manual_seed(recipe.seed + 2**32 * self.world.rank)
        with self.clock.saving():
            self.save()

    def epoch(self, progress: Progress, validation_error: float | None) -> dict[str, Any]:
        """Runs the rest of the current epoch and returns its log record: the means over its steps.

        Raises:
            OutOfTimeError: the deadline has passed; the state is saved.
            KeyboardInterrupt: Ctrl-C or SIGTERM; the state is saved.
        """
        position, recipe = self.position, self.recipe
        self._timed = time.monotonic()
        # Set the learning rate, the generator's output and, when it begins to play, the optimizers of this epoch.
        rate = recipe.learning_rate_at(position.epoch)
        self.game.set_learning_rate(rate)
        self.game.set_output(recipe.output_at(position.epoch))
        answers = recipe.average_answers_at(position.epoch)
        self.game.set_consistency(recipe.consistency_at(position.epoch), average_answers=answers)
        if position.epoch == recipe.generator_from and position.step == 0:
            self.game.restart_optimizers()

        with EpochBatches(self.training_set, self.world, position.epoch) as batches:
            while position.step < self.steps:
                # Update the players, and record the losses.
                position.add(self.game.step(batches.at(position.step)))
                looking = position.step % _STEPS_BETWEEN_LOOKS == 0 or position.step == self.steps
                progress.advance(1, self._note(validation_error) if looking else "")
                self._draw_picture()

                # Save when it is due, at steps where all processes can agree on it.
                if looking or self.world.size == 1:
                    over, asked = self._out_of_time(), self.interruption.asked
                    if self.world.decide(over or asked or self.clock.due()):
                        with self.clock.saving():
                            if self.world.leads:
                                self.run.append_time(position.epoch + 1, self.seconds_since(), step=position.step)
                            self.save()
                    if self.world.decide(asked):
                        raise KeyboardInterrupt
                    if self.options.deadline is not None and self.world.decide(over):
                        raise OutOfTimeError(
                            f"{self.run.path} is out of time in epoch {position.epoch + 1}; it can continue."
                        )
        return {"epoch": position.epoch + 1, "learning_rate": rate, **self._means()}

    def seconds_since(self) -> float:
        """Returns the wall time since the last call, or since the epoch began or resumed."""
        before, self._timed = self._timed, time.monotonic()
        return round(self._timed - before, 2)

    def _out_of_time(self) -> bool:
        """Whether the deadline has passed; an epoch whose steps are all done is still finished."""
        deadline = self.options.deadline
        return deadline is not None and time.monotonic() > deadline and self.position.step < self.steps

    def _means(self) -> dict[str, float]:
        means = self.position.means()
        if not all(map(math.isfinite, means.values())):
            raise self._diverged(f"a loss of the steps up to {self.position.step}")
        return means

    def _note(self, validation_error: float | None) -> str:
        shown = [f"{name.removesuffix('_loss')} {value:.4f}" for name, value in self._means().items()]
        error = [] if validation_error is None else [f"validation error {validation_error:.4f}"]
        return "  ".join([*error, f"epoch {self.position.epoch + 1}", *shown])

    def _draw_picture(self) -> None:
        every = self.options.picture_steps
        done = self.position.epoch * self.steps + self.position.step
        if every and done % every == 0 and self.world.leads and self.game.generator is not None:
            self.run.draw_frame(done, self.game.samples(grid_images(self.recipe)))

    def prepare_evaluation(self) -> None:
        """Measures what the networks need for evaluation, on the first training images."""
        count = min(self.game.measured_images, len(self.training_set))
        self.game.prepare_evaluation(self.training_set.batch(np.arange(count)))

    def validation_error(self) -> float | None:
        """Returns the share of wrong answers on the validation labels; None if there are none."""
        validation = self.training_set.validation
        if len(validation) == 0:
            return None
        wrong = torch.zeros((), dtype=torch.int64, device=self.options.device)
        batches = answer_batches(len(validation), self.game.evaluation_batch)
        for places, new in islice(batches, self.world.rank, None, self.world.size):
            chosen = validation[places]
            answers = self.game.predictions(self.training_set.batch(chosen))
            wrong += (answers != self.training_set.labels_at(torch.from_numpy(chosen)))[new].sum()
        return int(self.world.sum(wrong)) / len(validation)

    def save(self) -> None:
        """Writes a checkpoint of the current state.

        Raises:
            TrainingError: a value is not finite; the previous checkpoint is kept.
        """
        tensors = self.game.tensors()
        for name, tensor in tensors.items():
            # These are NaN until measured.
            unmeasured = "population_" in name or ".reference_" in name
            if not unmeasured and not torch.isfinite(tensor).all():
                raise self._diverged(name)
        tensors |= random_states(self.world, self.options.device)
        tensors |= {f"sums.{name}": total for name, total in self.position.sums.items()}
        facts = {"epoch": self.position.epoch, "step": self.position.step, **self.game.counters()}
        if self.world.leads:
            save_checkpoint(self.run.checkpoint, tensors, facts)
        self.world.wait()

    def load(self) -> None:
        """Restores the run's checkpoint.

        Raises:
            TrainingError: it is missing or damaged, or belongs to another recipe or number of processes.
        """
        tensors, facts = load_checkpoint(self.run.checkpoint)
        states, tensors = split_random_states(tensors)
        sums = {name: tensors.pop(name) for name in list(tensors) if name.startswith("sums.")}
        try:
            restore_random_states(states, self.world, self.options.device)
        except ValueError:
            raise TrainingError(
                f"{self.run.path} was trained by a different number of processes; start the same number again."
            ) from None
        load_game(self.game, tensors, facts, self.run)
        moved = {name.removeprefix("sums."): total.to(self.options.device) for name, total in sums.items()}
        self.position = Position(facts["epoch"], facts["step"], moved)

    def _diverged(self, what: str) -> TrainingError:
        return TrainingError(
            f"Training diverged in epoch {self.position.epoch + 1}: {what} is not finite; {self.run.checkpoint} is the "
            "last good state, and a lower --set learning_rate= in another --out may help."
        )


def grid_images(recipe: Recipe) -> int:
    """Returns how many samples a picture shows."""
    return 100 if recipe.height <= 64 else 36


def start_from(game: Game, weights: Path) -> None:
    """Loads the weights of a model, as it is tested, into the networks of a game that the model has.

    Raises:
        ModelDirectoryError: the file is damaged.
        TrainingError: its weights belong to other networks.
    """
    networks = load_networks(weights)
    for player, network in game.players():
        trained = networks.generator if player == "generator" else networks.discriminators[0]
        if trained is None:
            continue
        saved = trained.state_dict()
        if not fits(network.state_dict(), saved):
            raise TrainingError(
                f"The {player} of {weights.parent} differs from this recipe's network; start from a model of the same "
                "kind."
            )
        network.load_state_dict(saved)


def load_game(game: Game, tensors: dict[str, Tensor], facts: dict[str, Any], run: Run) -> None:
    """Restores a game from its part of a checkpoint; the generator is as in the last epoch."""
    restore(game.tensors(), tensors, run.checkpoint)
    game.restore_counters(facts)
    epoch = facts["epoch"] if facts["step"] else max(facts["epoch"] - 1, 0)
    game.set_output(game.recipe.output_at(epoch))


def open_game(run: Run) -> tuple[Game, int]:
    """Returns the game of a run's checkpoint and its finished epochs, for use and not for training.

    Raises:
        TrainingError: the run has no checkpoint, or it is damaged.
    """
    facts = run.facts()
    game = new_game(facts.recipe, len(facts.classes))
    tensors, state = load_checkpoint(run.checkpoint)
    _, tensors = split_random_states(tensors)
    wanted = {name: tensor for name, tensor in tensors.items() if not name.startswith("sums.")}
    load_game(game, wanted, state, run)
    return game, int(state["epoch"])


def train(
    recipe: Recipe,
    data: LabeledImages,
    run: Run,
    *,
    resume: bool,
    options: Options | None = None,
    world: World | None = None,
) -> None:
    """Trains ``recipe`` on ``data`` in a started ``run``, from its checkpoint if ``resume``.

    On the CPU, the result depends only on the recipe, the data, the versions, and the numbers of threads and processes.

    Raises:
        TrainingError: a loss or a parameter is not finite; the last good checkpoint is kept.
        OutOfTimeError: the deadline of the options has passed.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the state is saved.
    """
    options = options or Options()
    torch.manual_seed(recipe.seed)
    training = Training(recipe, data, run, options=options, world=world)
    game, position, leads = training.game, training.position, training.world.leads
    if resume:
        training.load()
        position = training.position
        if leads:
            run.rewind(position.epoch, position.step)
    else:
        training.start()
    if options.compile:
        game.compile(options.compile)

    board = TensorBoardLog(run.path / "tensorboard") if options.tensorboard and leads else None
    last = run.log()[-1:]
    error = last[0].get("validation_error") if last else None
    done = position.epoch * training.steps + position.step
    with (
        Progress(recipe.name, recipe.epochs * training.steps, unit="steps", done=done, shown=leads) as progress,
        training.interruption,
    ):
        while position.epoch < recipe.epochs:
            record = training.epoch(progress, error)

            # Test on the validation labels, with the averaged parameters.
            training.prepare_evaluation()
            error = training.validation_error()
            if error is not None:
                record["validation_error"] = error

            # Record the position.
            position.epoch, position.step, position.sums = position.epoch + 1, 0, {}
            if leads:
                run.append(record)
                run.append_time(position.epoch, training.seconds_since())
                if board is not None:
                    board.scalars(position.epoch, {name: value for name, value in record.items() if name != "epoch"})

            # Draw and save, unless that was done recently: a resumed run repeats the epochs since then. The checkpoint
            # comes last; otherwise, a run killed between the two would lack the pictures of its last epoch.
            if training.world.decide(position.epoch == recipe.epochs or training.clock.due_after_epoch()):
                with training.clock.saving():
                    if leads:
                        samples = game.samples(grid_images(recipe)) if game.generator is not None else None
                        run.draw(samples)
                        if board is not None and samples is not None:
                            board.image(position.epoch, "samples", grid(samples))
                    training.save()
    if board is not None:
        board.close()
