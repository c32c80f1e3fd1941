"""Testing the classifier of a run as it is, before any export."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from igan_zoo.images.labeled import LabeledImages
from igan_zoo.training.data.subsets import epoch_order
from igan_zoo.training.data.training_set import to_network, views
from igan_zoo.training.games.game import answer_batches
from igan_zoo.training.loop import open_game
from igan_zoo.training.runs.directory import Run

# So many training images say below which realness a hundredth of them lies.
_JUDGED, _QUANTILE = 1000, 0.01


def least_realness(run: Run, data: LabeledImages) -> float:
    """Returns what 99 of 100 training images exceed in realness, D(x) = Z / (Z + 1), of up to 1,000 of them.

    Raises:
        TrainingError: the run has no checkpoint, or it is damaged.
    """
    chosen = np.sort(epoch_order(len(data), 0, 0, "realness")[:_JUDGED])
    some = replace(data, images=data.images[chosen], labels=data.labels[chosen], places=None)
    log_z = np.logaddexp.reduce(run_logits(run, some).astype(np.float64), axis=1)
    return float(np.quantile(np.exp(-np.logaddexp(0, -log_z)), _QUANTILE))


def run_logits(run: Run, data: LabeledImages) -> NDArray[np.float32]:
    """Returns what the run's averaged discriminator answers for the images of ``data``, logits ``[N, K]``.

    With minibatch discrimination an answer depends on the others of its batch, which has the size of training's.

    Raises:
        DataError: the classes are not those of the run.
        TrainingError: the run has no checkpoint, or it is damaged.
    """
    facts = run.facts()
    data.check_classes(facts.classes, run.path)
    game, _ = open_game(run)
    logits = np.empty((len(data), len(facts.classes)), np.float32)
    for chosen, new in answer_batches(len(data), game.evaluation_batch):
        seen = views(torch.from_numpy(data.images[chosen]), facts.recipe)
        answers = torch.stack([game.class_logits(to_network(view, facts.recipe)) for view in seen])
        logits[chosen[new]] = answers.mean(dim=0).numpy()[new]
    return logits
