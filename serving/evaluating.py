"""Testing a loaded classifier on labeled images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from igan_zoo.counts import counted
from igan_zoo.errors import DataError
from igan_zoo.evaluation.evaluation import Evaluation
from igan_zoo.images.labeled import check_known
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
            f"{data} holds the training images, on which few errors mean little; give other images, or --split train."
        )
    return "train"


def evaluate_model(loaded: LoadedModel, data: str, split: str | None, labels_file: Path | None) -> Evaluation:
    """Tests a loaded classifier; ``LoadedModel.evaluate`` says what is taken and raised."""
    known, classes = loaded.known_classes, loaded.classes

    def check(labels: NDArray[np.int64], found: Sequence[str]) -> None:
        if known is not None:
            check_known(found, known, loaded.path)
        elif labels.max(initial=-1) >= len(classes):
            raise DataError(f"The data has {counted(len(found), 'class')}, but the classifier has {len(classes)}.")

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
        check=check,
    )
    check(labeled.labels, labeled.classes)  # shards are not checked before
    if known is not None:
        labeled = labeled.numbered_by(known, loaded.path)
    logits = np.concatenate(list(logit_batches(loaded.engine, labeled.images, title="evaluating")))
    return Evaluation(classes, labeled.names(), labeled.labels, logits)
