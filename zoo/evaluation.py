"""Counting the errors of a model, or of a training run before any export, on labeled images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from igan_zoo.errors import missing_extra
from igan_zoo.images.loading import load_images

if TYPE_CHECKING:
    from igan_zoo.serving.model import LoadedModel


@dataclass(frozen=True)
class Evaluation:
    """How many of ``total`` labeled images a classifier gets ``wrong``."""

    wrong: int
    total: int

    @property
    def error(self) -> float:
        """The share of wrong answers, 0 to 1."""
        return self.wrong / self.total


def evaluate_model(loaded: LoadedModel, data: str, split: str, labels_file: Path | None) -> Evaluation:
    """Counts the errors of a loaded classifier; ``LoadedModel.evaluate`` says what is taken and raised."""
    from igan_zoo.serving.classifying import count_errors

    known = loaded.known_classes
    height, width, channels = loaded.engine.graphs["classifier"].image_shape
    labeled = load_images(
        data,
        split,
        height=height,
        width=width,
        channels=channels,
        crop=loaded.crop,
        labels_file=labels_file,
        labeled_only=True,
    )
    if known is not None:
        labeled = labeled.numbered_by(known, loaded.path)
    return Evaluation(count_errors(loaded.engine, labeled.images, labeled.labels), len(labeled))


def evaluate_run(path: Path, data: str, split: str, labels_file: Path | None) -> Evaluation:
    """Counts the errors of a training run's classifier in PyTorch.

    Raises:
        MissingExtraError: the train extra is not installed.
        DataError, TrainingError: as ``count_run_errors``.
    """
    try:
        from igan_zoo.training.evaluation import count_run_errors
    except ImportError as error:
        raise missing_extra(error, "train") from error
    from igan_zoo.training.data.training_set import load_for_recipe
    from igan_zoo.training.runs.directory import Run

    run = Run(path)
    labeled = load_for_recipe(run.facts().recipe, data, split, labels_file=labels_file, labeled_only=True)
    return Evaluation(count_run_errors(run, labeled), len(labeled))
