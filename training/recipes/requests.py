"""What is asked of a training: a recipe by name, with its settings, data and labels. Nothing here imports torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from igan_zoo.errors import DataError, SpecificationError
from igan_zoo.images.labels import is_labels_file
from igan_zoo.training.features.settings import FeatureRecipe, Keep
from igan_zoo.training.recipes.catalogue import find_recipe
from igan_zoo.training.recipes.settings import Recipe, customize
from igan_zoo.training.runs.directory import read_facts


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """How a training is done, as against what it computes.

    Attributes:
        ensemble: trains this many seeds in turn, each in a folder of its own, with the same labeled images.
        threads: PyTorch's threads, on which the last bits depend. None is as many as the run began with; a new one on a
            CPU measures whether one or all are faster.
        strict: the first image that cannot be used is an error, and not left out.
        compile: a mode of ``torch.compile``.
        picture_steps: draws samples every so many steps.
        checkpoint_seconds: at most this long between two checkpoints.
        tensorboard: writes TensorBoard events, too.
        features: what the recipe ``"custom"`` learns from: the name or ``.onnx`` file of a frozen network, or
            ``"none"``, which means pixels. None is EfficientNet-Lite0.
        keep: with features, the classifier to keep: the paper's game, logistic regression, or the one that validates
            better.
        size: pixels per side of the photos that the frozen network sees. None is what fits the photos.
    """

    ensemble: int | None = None
    threads: int | None = None
    strict: bool = False
    compile: Literal["default", "reduce-overhead", "max-autotune"] | None = None
    picture_steps: int | None = None
    checkpoint_seconds: float = 300.0
    tensorboard: bool = False
    features: str | None = None
    keep: Keep = "better"
    size: int | None = None


@dataclass(frozen=True)
class TrainRequest:
    """A recipe with its settings, where its images come from, the file that labels them, and the run directory."""

    recipe: Recipe
    source: str
    labels_file: Path | None
    path: Path


def resolve_request(
    recipe: str,
    data: str | None = None,
    *,
    labels: str | int | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    out: Path | None = None,
    ensemble: int | None = None,
) -> TrainRequest:
    """Returns what a training of ``recipe`` is: a name, or the ``recipe.json`` of a run, which is made again.

    ``labels`` is a number of labeled images, ``"25-per-class"``, ``"all"``, or the name of a CSV file of labels.

    Raises:
        UnknownNameError: there is no such recipe; the message names the nearest.
        SpecificationError: a setting is unknown, out of range or contradicts another.
        DataError: the recipe has no data of its own, and none is named.
        TrainingError: the ``recipe.json`` is missing.
    """
    labels_file = Path(labels) if isinstance(labels, str) and is_labels_file(labels) else None
    given = {**(settings or {}), "labels": "all" if labels_file is not None else labels, "seed": seed}
    if recipe.endswith(".json"):
        facts = read_facts(Path(recipe))
        base, data = facts.recipe, data or facts.data
        if labels is None and facts.labels_file is not None:
            labels_file = Path(facts.labels_file)
    else:
        base = find_recipe(recipe)
    chosen = {key: value for key, value in given.items() if value is not None or key in (settings or {})}
    for key in chosen if base.name == "custom" else ():
        if key in FeatureRecipe.__struct_fields__ and key not in Recipe.__struct_fields__:
            raise SpecificationError(f"The setting {key} applies to training from features: remove --features none.")
    resolved = customize(base, settings_text(chosen))
    if data is None and resolved.name == "custom":
        raise DataError("The recipe custom needs data: a folder of images or a Hub id.")
    members = f"ensemble{ensemble}" if ensemble else f"seed{resolved.seed}"
    path = out or Path("runs") / f"{resolved.name}-{resolved.labels}-{members}"
    return TrainRequest(resolved, data or resolved.dataset, labels_file, path)


def learns_from_features(recipe: str, features: str | None) -> bool:
    """Returns whether a training of ``recipe`` is one on features: that of ``custom`` is, unless they are ``none``.

    Raises:
        SpecificationError: features are asked for of a recipe that does not take them.
    """
    if recipe in ("custom", "custom-features"):
        return features != "none"
    if features not in (None, "none"):
        raise SpecificationError(f"Features work only with the recipe custom, not with {recipe}; remove --features.")
    return False


def settings_text(settings: Mapping[str, Any]) -> list[str]:
    """Returns settings as ``customize`` takes them."""
    return [f"{key}={_text(value)}" for key, value in settings.items()]


def _text(value: object) -> str:
    return value if isinstance(value, str) else "none" if value is None else json.dumps(value)
