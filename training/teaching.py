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
from igan_zoo.training.weights import TrainedNetworks, load_networks

_BATCH = 250


def model_weights(recipe: Recipe, setting: Literal["start_from", "teacher"]) -> Path | None:
    """Returns the weights file of the model that a recipe names in ``setting``; None where it names none.

    Raises:
        UnknownNameError: there is no such model on this machine.
        TrainingError: it has no weights.
    """
    reference = getattr(recipe, setting)
    if reference is None:
        return None
    directory = resolve(reference).directory
    if directory is None or WEIGHTS not in directory.present():
        raise TrainingError(f"{setting}={reference} names no model directory with {WEIGHTS}; pull the whole model.")
    return directory.path / WEIGHTS


def taught(training_set: TrainingSet, classes: Sequence[str], path: Path, world: World) -> Tensor:
    """Returns the logits float32 ``[N, K]`` that the recipe's teacher gives all training images, on their device.

    They are kept in ``path``; a run that continues reads them from there.

    Raises:
        UnknownNameError, ModelDirectoryError, TrainingError: the teacher cannot be had, or is for other images.
    """
    from safetensors.torch import load_file, save_file

    if world.leads and not path.exists():
        weights = model_weights(training_set.recipe, "teacher")
        assert weights is not None  # noqa: S101 - the caller looked
        logits = _answers(training_set, load_networks(weights), classes)
        with atomic_file(path) as temporary:
            save_file({"logits": logits}, temporary)
    world.wait()
    return load_file(path)["logits"].to(training_set.device)


def _answers(training_set: TrainingSet, networks: TrainedNetworks, classes: Sequence[str]) -> Tensor:
    recipe, reference = networks.recipe, training_set.recipe.teacher
    if networks.classes != tuple(classes):
        raise TrainingError(f"The teacher {reference} knows other classes than the data has; choose another teacher.")
    shapes = {(of.height, of.width, of.channels) for of in (training_set.recipe, recipe)}
    if len(shapes) > 1:
        raise TrainingError(f"The teacher {reference} takes images of another shape than this recipe's.")
    total, parts = len(training_set), []
    members = [member.to(training_set.device) for member in networks.discriminators]
    with torch.no_grad(), Progress(f"answers of {reference}", total, unit="images") as progress:
        for start in range(0, total, _BATCH):
            pixels = training_set.pixels(torch.arange(start, min(start + _BATCH, total)))
            seen = [to_network(view, recipe) for view in views(pixels, recipe)]
            parts.append(torch.stack([member(view) for member in members for view in seen]).mean(dim=0).cpu())
            progress.advance(len(pixels))
    return torch.cat(parts) / networks.temperature
