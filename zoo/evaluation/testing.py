"""Testing a training run on labeled images, before any export."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from igan_zoo.errors import DataError, missing_extra
from igan_zoo.evaluation.evaluation import Evaluation
from igan_zoo.images.labeled import check_known, numbered_by
from igan_zoo.images.sources import open_source
from igan_zoo.images.summary import log_summary
from igan_zoo.serving.evaluating import split_to_test

# Probabilities below are taken for this one, which no answer gets near.
_LEAST = 1e-30


def evaluate_run(
    path: Path, data: str, split: str | None, labels_file: Path | None, threads: int | None = None
) -> Evaluation:
    """Tests a training run's classifier in PyTorch, by ``threads`` of its threads.

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
    from igan_zoo.training.precision import torch_threads
    from igan_zoo.training.runs.directory import Run

    run = Run(path)
    facts = run.facts()
    split = split_to_test(data, split, labels_file, facts.data)
    labeled = load_for_recipe(
        facts.recipe,
        data,
        split,
        labels_file=labels_file,
        labeled_only=True,
        check=lambda _, found: check_known(found, facts.classes, path),
    )
    labeled = labeled.numbered_by(facts.classes, path)
    with torch_threads(threads):
        return Evaluation(facts.classes, labeled.names(), labeled.labels, run_logits(run, labeled))


def evaluate_feature_run(
    path: Path, data: str, split: str | None, labels_file: Path | None, threads: int | None = None
) -> Evaluation:
    """Tests the classifier of a run on features, which are computed by ``threads`` threads.

    Raises:
        MissingExtraError: the train extra is not installed.
        DataError: the images or labels are missing, or the run does not know one of the classes.
        TrainingError: the run is not finished, or it is damaged.
    """
    try:
        from igan_zoo.training.features.runs import FeatureRun
    except ImportError as error:
        raise missing_extra(error, "train") from error
    from igan_zoo.serving.scorers.feature_encoders import encoder_of
    from igan_zoo.serving.scorers.photo_features import feature_rows

    run = FeatureRun(path)
    run.result()  # before the features, which may take minutes
    facts = run.facts()
    split = split_to_test(data, split, labels_file, facts.data)
    source = open_source(data, split=split, labeled=True, labels_file=labels_file)
    log_summary(source, source.reference)
    labels = numbered_by(source.labels(range(len(source))), source.classes, facts.classes, path)
    labeled = np.flatnonzero(labels >= 0)
    if len(labeled) == 0:
        raise DataError(f"None of the photos of {source.reference} has a label; give class folders, or a CSV file.")
    rows, places = feature_rows(source, encoder_of(run.encoder_content(), facts.encoder, facts.size), threads=threads)
    kept = np.isin(places, labeled)
    indices = np.array(places, np.int64)[kept]
    logits = np.log(np.maximum(run.answers(rows[kept])[0], np.float32(_LEAST)))
    return Evaluation(facts.classes, source.called(indices), labels[indices], logits)
