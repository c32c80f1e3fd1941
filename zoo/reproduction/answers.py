"""What trained classifiers answer for the test images: asked once each, kept, and counted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igan_zoo.images.labeled import LabeledImages
from igan_zoo.machine.files import atomic_file
from igan_zoo.models.directory import ModelDirectory
from igan_zoo.reproduction.evidence import Evidence
from igan_zoo.serving.classifying import logit_batches
from igan_zoo.serving.engine import Engine
from igan_zoo.training.evaluation import run_logits
from igan_zoo.training.runs.directory import Run

Logits = NDArray[np.float32]
_BATCH = 500


@dataclass(frozen=True)
class Answers:
    """Answers for the images of ``test``, kept in ``folder`` by the weights they come from and the images they are for.

    A run is asked in PyTorch, a model through its ONNX file.
    """

    test: LabeledImages
    folder: Path

    def logits(self, evidence: Evidence) -> Logits:
        """Returns the logits ``[N, K]`` of a training.

        Raises:
            DataError: the classes are others than those of the test images.
            TrainingError, ModelDirectoryError, ChecksumError: the weights are damaged or missing.
        """
        kept = self.folder / f"{self._key(evidence)}.npy"
        if kept.is_file():
            logits: Logits = np.load(kept, allow_pickle=False)
            return logits
        logits = model_logits(evidence.path, self.test) if evidence.is_model else self._of_run(evidence)
        with atomic_file(kept) as temporary, temporary.open("wb") as file:
            np.save(file, logits, allow_pickle=False)
        return logits

    def wrong(self, evidence: Evidence) -> int:
        """Returns how many of the test images a training gets wrong."""
        return count_wrong(self.logits(evidence), self.test.labels)

    def ensemble_wrong(self, members: Sequence[Evidence]) -> int:
        """Returns how many of them the mean of the members' probabilities gets wrong."""
        return count_wrong(mean_probabilities([self.logits(member) for member in members]), self.test.labels)

    def _of_run(self, evidence: Evidence) -> Logits:
        return run_logits(Run(evidence.path), self.test)

    def _key(self, evidence: Evidence) -> str:
        return hashlib.sha256(f"{evidence.weights_sum} {self._test_sum}".encode()).hexdigest()[:24]

    @cached_property
    def _test_sum(self) -> str:
        digest = hashlib.sha256(self.test.labels.tobytes())
        for start in range(0, len(self.test), _BATCH):
            digest.update(self.test.images[start : start + _BATCH].tobytes())
        return digest.hexdigest()


def model_logits(path: Path, test: LabeledImages) -> Logits:
    """Returns the logits ``[N, K]`` of a model's ONNX classifier.

    Raises:
        DataError: the classes are others than those of the test images.
        ModelDirectoryError, ChecksumError: the model is damaged, or has no classifier.
    """
    directory = ModelDirectory.open(path)
    test.check_classes(directory.spec.classes or (), path)
    engine = Engine({"classifier": directory.read(directory.spec.graphs["classifier"])})
    return np.concatenate(list(logit_batches(engine, test.images, title=f"testing {directory.spec.name}")))


def mean_probabilities(members: Sequence[Logits]) -> NDArray[np.float64]:
    """Returns the mean of the members' softmax, ``[N, K]``, of their logits ``[N, K]``."""
    total = np.zeros(members[0].shape)
    for logits in members:
        shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
        total += shifted / shifted.sum(axis=1, keepdims=True)
    return total / len(members)


def count_wrong(scores: NDArray[np.floating], labels: NDArray[np.int64]) -> int:
    """Returns in how many rows of ``scores`` ``[N, K]`` the largest is not the label's."""
    return int((scores.argmax(axis=1) != labels).sum())
