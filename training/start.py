"""Starting or resuming a run: data, threads, the run's facts, and then the loop."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path

import torch

from igan_zoo.errors import TrainingError
from igan_zoo.training.data import load_images
from igan_zoo.training.loop import train
from igan_zoo.training.recipes import Recipe
from igan_zoo.training.runs import Run, RunFacts


def start_training(recipe: Recipe, source: str, path: Path, *, resume: bool, threads: int | None) -> None:
    """Trains ``recipe`` on ``source`` in the run directory ``path``.

    With ``resume`` an existing run goes on from its checkpoint, and one that has none, or does not exist yet, starts.

    Raises:
        TrainingError: a run exists and ``resume`` is false, or it was made from another recipe.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    run = Run(path)
    if resume and run.recipe_file.exists() and run.facts().recipe != recipe:
        raise TrainingError(f"{path} was made from another recipe; give the same settings, or choose another --out.")
    data = load_images(source, "train", height=recipe.height, width=recipe.width, channels=recipe.channels)
    if not (resume and run.recipe_file.exists()):
        versions = {
            "python": platform.python_version(),
            **{name: version(name) for name in ("igan-zoo", "torch", "numpy")},
        }
        run.start(RunFacts(recipe, source, data.classes, len(data), "cpu", torch.get_num_threads(), versions))
    train(recipe, data, run, resume=resume and run.checkpoint.exists())
