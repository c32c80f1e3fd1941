"""Testing a model, or a training run before any export, on labeled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from igan_zoo.errors import DataError, missing_extra
from igan_zoo.evaluation.evaluation import Evaluation
from igan_zoo.images.labeled import numbered_by
from igan_zoo.images.loading import load_images
from igan_zoo.images.sources import is_undivided, open_source

if TYPE_CHECKING:
    from igan_zoo.serving.model import LoadedModel

# Probabilities below are taken for this one, which no answer gets near.
_LEAST = 1e-30


def split_to_test(data: str, split: str | None, trained_on: str | None = None) -> str:
    """Returns the split that is meant: ``test``, unless another is given or ``data`` is one folder without splits.

    Raises:
        DataError: no split is given, and the folder is the one that the classifier was ``trained_on``.
    """
    if split is not None:
        return split
    if not is_undivided(data):
        return "test"
    if trained_on is not None and Path(trained_on).is_dir() and Path(trained_on).samefile(data):
        raise DataError(
            f"{data} holds the images of the training, on which few errors say little; give others, or --split train."
        )
    return "train"


def evaluate_model(loaded: LoadedModel, data: str, split: str | None, labels_file: Path | None) -> Evaluation:
    """Tests a loaded classifier; ``LoadedModel.evaluate`` says what is taken and raised."""
    from igan_zoo.serving.classifying import logit_batches

    known = loaded.known_classes
    height, width, channels = loaded.engine.graphs["classifier"].image_shape
    labeled = load_images(
        data,
        split_to_test(data, split) if labels_file is None else split or "test",
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
        raise DataError(f"The data has {len(labeled.classes)} classes, but the classifier has {len(classes)}.")
    logits = np.concatenate(list(logit_batches(loaded.engine, labeled.images, title="evaluating")))
    return Evaluation(classes, labeled.names(), labeled.labels, logits)


def evaluate_run(path: Path, data: str, split: str | None, labels_file: Path | None) -> Evaluation:
    """Tests a training run's classifier in PyTorch.

    Raises:
        MissingExtraError: the train extra is not installed.
        DataError: the images or labels are missing, or the run does not know one of the classes.
        TrainingError: the run has no checkpoint, or it is damaged.
    """
    try:
        from igan_zoo.training.evaluation import run_logits
    except ImportError as error:
        raise missing_extra(error, "train") from error
    from igan_zoo.training.data.training_set import load_for_recipe
    from igan_zoo.training.runs.directory import Run

    run = Run(path)
    facts = run.facts()
    split = split_to_test(data, split, facts.data) if labels_file is None else split or "test"
    labeled = load_for_recipe(facts.recipe, data, split, labels_file=labels_file, labeled_only=True)
    labeled = labeled.numbered_by(facts.classes, path)
    return Evaluation(facts.classes, labeled.names(), labeled.labels, run_logits(run, labeled))


def evaluate_feature_run(path: Path, data: str, split: str | None, labels_file: Path | None) -> Evaluation:
    """Tests the classifier of a run on features in PyTorch.

    Raises:
        MissingExtraError: the train extra is not installed.
        DataError: the images or labels are missing, or the run does not know one of the classes.
        TrainingError: the run is not finished, or it is damaged.
    """
    try:
        from igan_zoo.training.features.runs import FeatureRun
    except ImportError as error:
        raise missing_extra(error, "train") from error
    from igan_zoo.commands.training.feature_training import feature_rows
    from igan_zoo.serving.scorers.feature_encoders import encoder_of

    run = FeatureRun(path)
    run.result()  # before the features, which may take minutes
    facts = run.facts()
    split = split_to_test(data, split, facts.data) if labels_file is None else split or "test"
    source = open_source(data, split=split, labeled=True, labels_file=labels_file)
    labeled = np.flatnonzero(source.labels(range(len(source))) >= 0)
    if len(labeled) == 0:
        raise DataError(f"None of the photos of {source.reference} has a label; give class folders, or a CSV file.")
    rows, places = feature_rows(source, encoder_of(run.encoder_content(), facts.encoder, facts.size))
    kept = np.isin(places, labeled)
    indices = np.array(places, np.int64)[kept]
    labels = numbered_by(source.labels(indices), source.classes, facts.classes, path)
    names = source.called(indices)
    logits = np.log(np.maximum(run.answers(rows[kept])[0], np.float32(_LEAST)))
    return Evaluation(facts.classes, names, labels, logits)
