"""Starting or resuming a run: data, threads, the run's facts, and then the loop."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path

import torch

from igan_zoo.errors import TrainingError
from igan_zoo.training.loop import train
from igan_zoo.training.recipes import Recipe
from igan_zoo.training.runs import Run, RunFacts
from igan_zoo.training.sources import load_images


def start_training(recipe: Recipe, source: str, path: Path, *, resume: bool, threads: int | None) -> None:
    """Trains ``recipe`` on ``source`` in the run directory ``path``.

    With ``resume`` an existing run goes on from its checkpoint, with its number of threads unless ``threads`` says
    otherwise; one that has no checkpoint, or does not exist yet, starts.

    Raises:
        TrainingError: a run exists and ``resume`` is false, or it was made from another recipe or other data.
    """
    run = Run(path)
    started = run.facts() if resume and run.recipe_file.exists() else None
    if started is not None and started.recipe != recipe:
        raise TrainingError(f"{path} was made from another recipe; give the same settings, or choose another --out.")
    threads = threads or (started.threads if started is not None else torch.get_num_threads())
    torch.set_num_threads(threads)

    data = load_images(source, "train", height=recipe.height, width=recipe.width, channels=recipe.channels)
    if started is None:
        packages = {name: version(name) for name in ("igan-zoo", "torch", "numpy")}
        versions = {"python": platform.python_version(), **packages}
        run.start(RunFacts(recipe, source, data.classes, len(data), "cpu", threads, versions))
    elif (started.classes, started.training_images) != (data.classes, len(data)):
        raise TrainingError(f"{path} was trained on other data ({started.data}); give the same --data.")
    else:
        run.clean()
    train(recipe, data, run, resume=resume and run.checkpoint.exists())
