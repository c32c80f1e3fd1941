"""A teacher: an earlier model whose answers unlabeled images are to get, instead of those of the network's own average.

A network trained from scratch on what a model answers, in changed views, comes out better than the model (Xie et al.,
*Self-training with Noisy Student*, 2020). All answers are computed once, and kept in the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from igan_zoo.errors import TrainingError
from igan_zoo.machine.files import atomic_file
from igan_zoo.machine.progress import Progress
from igan_zoo.models.spec import WEIGHTS
from igan_zoo.models.store import resolve
from igan_zoo.training.data.training_set import TrainingSet, to_network, views
from igan_zoo.training.distributed import World
from igan_zoo.training.recipes.settings import Recipe
from igan_zoo.training.weights import load_networks, saved_facts

_BATCH = 250


def model_weights(reference: str, setting: Literal["start_from", "teacher"]) -> Path:
    """Returns the weights file of a model, by name or directory, that a recipe names in ``setting``.

    Raises:
        UnknownNameError: there is no such model on this machine.
        TrainingError: it has no weights.
    """
    directory = resolve(reference).directory
    if directory is None or WEIGHTS not in directory.present():
        raise TrainingError(f"{setting}={reference} names no model directory with {WEIGHTS}; pull the complete model.")
    return directory.path / WEIGHTS


def check_models(recipe: Recipe) -> None:
    """Raises what :func:`model_weights` raises of the models that a recipe names."""
    if recipe.start_from is not None:
        model_weights(recipe.start_from, "start_from")
    for teacher in recipe.teachers:
        model_weights(teacher, "teacher")


def check_teacher(teacher: str, recipe: Recipe, classes: Sequence[str]) -> None:
    """Refuses a teacher that is for other classes or images than ``recipe`` and the data; no tensor is read.

    Raises:
        UnknownNameError, ModelDirectoryError, TrainingError: it is, or cannot be had.
    """
    of = saved_facts(model_weights(teacher, "teacher"))
    if of.classes != tuple(classes):
        raise TrainingError(
            f"The classes of the teacher {teacher} differ from those of the data; choose another teacher."
        )
    if len({(one.height, one.width, one.channels) for one in (recipe, of.recipe)}) > 1:
        raise TrainingError(f"The teacher {teacher} takes images of a different shape than this recipe's.")


def taught(training_set: TrainingSet, classes: Sequence[str], path: Path, world: World) -> Tensor:
    """Returns what the recipe's teachers answer to all training images, logits float32 ``[N, K]`` on their device.

    Several teachers give the mean of their probabilities. The logits are kept in ``path``; a run that continues reads
    them from there.

    Raises:
        UnknownNameError, ModelDirectoryError, TrainingError: a teacher cannot be had, or is for other images.
    """
    from safetensors.torch import load_file, save_file

    if world.leads and not path.exists():
        teachers = training_set.recipe.teachers
        probabilities = [_probabilities(training_set, teacher, classes) for teacher in teachers]
        logits = torch.stack(probabilities).mean(dim=0).clamp(min=torch.finfo(torch.float32).tiny).log()
        with atomic_file(path) as temporary:
            save_file({"logits": logits}, temporary)
    world.wait()
    return load_file(path)["logits"].to(training_set.device)


def _probabilities(training_set: TrainingSet, teacher: str, classes: Sequence[str]) -> Tensor:
    """Returns the probabilities ``[N, K]`` that a model gives all images: over its views the mean logits."""
    check_teacher(teacher, training_set.recipe, classes)
    networks = load_networks(model_weights(teacher, "teacher"))
    recipe = networks.recipe
    total, parts = len(training_set), []
    members = [member.to(training_set.device) for member in networks.discriminators]
    with torch.no_grad(), Progress(f"answers of {teacher}", total, unit="images") as progress:
        for start in range(0, total, _BATCH):
            pixels = training_set.pixels(torch.arange(start, min(start + _BATCH, total)))
            seen = [to_network(view, recipe) for view in views(pixels, recipe)]
            logits = [torch.stack([member(view) for view in seen]).mean(dim=0) for member in members]
            answers = torch.stack([(of / networks.temperature).softmax(dim=1) for of in logits])
            parts.append(answers.mean(dim=0).cpu())
            progress.advance(len(pixels))
    return torch.cat(parts)
