"""Testing a loaded classifier on labeled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from igan_zoo.counts import counted
from igan_zoo.errors import DataError
from igan_zoo.evaluation.evaluation import Evaluation
from igan_zoo.images.loading import load_images
from igan_zoo.images.sources import is_undivided
from igan_zoo.serving.classifying import logit_batches

if TYPE_CHECKING:
    from igan_zoo.serving.model import LoadedModel


def split_to_test(data: str, split: str | None, labels_file: Path | None, trained_on: str | None = None) -> str:
    """Returns the split that is meant: ``test``, unless another is given or ``data`` is one folder without splits.

    With a ``labels_file`` the images that it names are meant, whatever their folder.

    Raises:
        DataError: no split is given, and the folder is the one that the classifier was ``trained_on``.
    """
    if split is not None:
        return split
    if labels_file is not None or not is_undivided(data):
        return "test"
    if trained_on is not None and Path(trained_on).is_dir() and Path(trained_on).samefile(data):
        raise DataError(
            f"{data} holds the images of the training, on which few errors say little; give others, or --split train."
        )
    return "train"


def evaluate_model(loaded: LoadedModel, data: str, split: str | None, labels_file: Path | None) -> Evaluation:
    """Tests a loaded classifier; ``LoadedModel.evaluate`` says what is taken and raised."""
    known = loaded.known_classes
    height, width, channels = loaded.engine.graphs["classifier"].image_shape
    labeled = load_images(
        data,
        split_to_test(data, split, labels_file),
        height=height,
        width=width,
        channels=channels,
        crop=loaded.crop,
        labels_file=labels_file,
        labeled_only=True,
    )
    if known is not None:
        labeled = labeled.numbered_by(known, loaded.path)
    classes = loaded.classes
    if labeled.labels.max() >= len(classes):
        raise DataError(
            f"The data has {counted(len(labeled.classes), 'class')}, but the classifier has {len(classes)}."
        )
    logits = np.concatenate(list(logit_batches(loaded.engine, labeled.images, title="evaluating")))
    return Evaluation(classes, labeled.names(), labeled.labels, logits)
