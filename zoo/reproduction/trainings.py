"""Doing a plan: trainings one after the other, each resumed where it was, until a time is over."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from igan_zoo.errors import OutOfTimeError, TrainingError
from igan_zoo.reproduction.planning import Job, Pace
from igan_zoo.training.data.sources import LabelledImages, load_for_recipe
from igan_zoo.training.loop import Options, Training
from igan_zoo.training.runs import Run
from igan_zoo.training.settings import Recipe
from igan_zoo.training.start import start_training

# A kill costs at most so many seconds.
_CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True)
class TrainingData:
    """The training images of a table, decoded once: all of its recipes take the same."""

    source: str
    images: LabelledImages

    @staticmethod
    def load(source: str, recipe: Recipe) -> TrainingData:
        """Reads the split train.

        Raises:
            DataError, ImageError, MissingExtraError: as ``load_for_recipe``.
        """
        return TrainingData(source, load_for_recipe(recipe, source, "train"))


@dataclass
class Outcome:
    """How far the trainings of a plan have come: what went wrong, by name, and whether the time was over before all."""

    failed: dict[str, str] = field(default_factory=dict)
    out_of_time: bool = False


def pace_of(data: TrainingData, threads: int | None) -> Pace:
    """Returns a function that measures the seconds of a step; ``threads`` are PyTorch's."""

    def measure(recipe: Recipe) -> float:
        if threads is not None:
            torch.set_num_threads(threads)
        torch.manual_seed(recipe.seed)
        with tempfile.TemporaryDirectory() as folder:
            training = Training(recipe, data.images, Run(Path(folder)), options=Options())
            return training.seconds_per_step()

    return measure


def spent_seconds(runs: Path, jobs: Iterable[Job]) -> float:
    """Returns the wall time of all epochs that the jobs have behind them."""
    return float(sum(row["seconds"] for job in jobs for row in Run(runs / job.name).timings()))


def is_finished(run: Run, recipe: Recipe) -> bool:
    """Returns whether a run of exactly this recipe is done."""
    return run.recipe_file.is_file() and run.facts().recipe == recipe and run.is_finished()


def train_all(
    jobs: Sequence[Job], runs: Path, data: TrainingData, *, threads: int | None, seconds: float | None
) -> Outcome:
    """Trains what is not finished yet, for ``seconds`` at most; None is without an end.

    A training that diverges is left as it is and named in the outcome; the others go on.
    """
    outcome = Outcome()
    deadline = None if seconds is None else time.monotonic() + seconds
    options = Options(checkpoint_seconds=_CHECKPOINT_SECONDS, deadline=deadline)
    for job in jobs:
        run = Run(runs / job.name)
        if is_finished(run, job.recipe):
            continue
        if deadline is not None and time.monotonic() > deadline:
            outcome.out_of_time = True
            break
        try:
            start_training(
                job.recipe, data.source, run.path, resume=True, threads=threads, options=options, loaded=data.images
            )
        except OutOfTimeError:
            outcome.out_of_time = True
            break
        except TrainingError as error:
            outcome.failed[job.name] = str(error)
    return outcome
