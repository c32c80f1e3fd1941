"""How long a step of a recipe takes on this machine, with one thread and with several."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import cycle

import numpy as np
import torch

from igan_zoo.images.labeled import LabeledImages
from igan_zoo.training.data.epoch_batches import EpochBatches
from igan_zoo.training.data.training_set import TrainingSet
from igan_zoo.training.distributed import World
from igan_zoo.training.games.choice import new_game
from igan_zoo.training.precision import torch_threads
from igan_zoo.training.recipes.settings import Recipe

# Steps are timed for so long with each number of threads, but two at least.
_SECONDS, _LEAST_STEPS = 0.5, 2
# More threads have to be that much faster: another time the machine may be busier, and results depend on their number.
_WORTH = 0.9


def seconds_per_step(recipe: Recipe, data: LabeledImages, threads: Sequence[int]) -> dict[int, float]:
    """Returns the least seconds that a step took with each number of threads, on the CPU; nothing is kept.

    The steps are those of an epoch in which all players play.

    Raises:
        DataError: the data is not what the recipe needs.
    """
    found = {}
    with torch.random.fork_rng(devices=[]):
        training_set = TrainingSet.create(recipe, data)
        game = new_game(recipe, len(data.classes))
        game.initialize(training_set.batch(np.arange(recipe.batch_size)))
        with EpochBatches(training_set, World(), recipe.generator_from) as batches:
            order = cycle(range(min(batches.steps, 8)))
            for count in threads:
                with torch_threads(count):
                    game.step(batches.at(next(order)))
                    found[count] = _fastest(lambda: game.step(batches.at(next(order))))
    return found


def fastest_threads(seconds: dict[int, float]) -> int:
    """Returns the number of threads that a training is best done with; the smallest of those that are about as fast."""
    best = min(seconds.values())
    return min(count for count, needed in seconds.items() if needed * _WORTH <= best)


def thread_choices() -> list[int]:
    """Returns the numbers of threads that are worth a try here: one, and as many as torch takes by itself."""
    return sorted({1, torch.get_num_threads()})


def estimated_seconds(recipe: Recipe, images: int, seconds: float) -> float:
    """Returns how long a training on so many images takes with steps of so many ``seconds``."""
    epoch = min(images, recipe.epoch_images or images)
    return recipe.epochs * (epoch // recipe.batch_size) * seconds


def _fastest(step: Callable[[], object]) -> float:
    times: list[float] = []
    while len(times) < _LEAST_STEPS or sum(times) < _SECONDS:
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    return min(times)
