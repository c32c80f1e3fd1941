"""The answers of a classifier to labeled images, and what one looks at first in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from igan_zoo.evaluation.calibration import Calibration, calibration_of, probabilities_of
from igan_zoo.evaluation.confusion import ClassErrors, confusion_matrix, errors_by_class


@dataclass(frozen=True)
class WrongFile:
    """A wrong answer: the image's name, its label, the class it was taken for, and the probabilities of both."""

    file: str
    label: str
    answer: str
    probability: float
    label_probability: float


@dataclass(frozen=True)
class Evaluation:
    """A classifier's ``logits`` ``[N, K]`` for the images called ``names``, which have ``labels`` int64 ``[N]``."""

    classes: tuple[str, ...]
    names: Sequence[str]
    labels: NDArray[np.int64]
    logits: NDArray[np.float32]

    @property
    def total(self) -> int:
        """How many images there are."""
        return len(self.labels)

    @property
    def wrong(self) -> int:
        """How many of them the classifier gets wrong."""
        return int((self.answers != self.labels).sum())

    @property
    def error(self) -> float:
        """The share of wrong answers, 0 to 1."""
        return self.wrong / self.total

    @cached_property
    def answers(self) -> NDArray[np.int64]:
        """The likeliest class of every image, int64 ``[N]``."""
        answers: NDArray[np.int64] = self.logits.argmax(axis=1)
        return answers

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """How often which class (row) got which answer (column), int64 ``[K, K]``."""
        return confusion_matrix(self.labels, self.answers, len(self.classes))

    @property
    def by_class(self) -> list[ClassErrors]:
        """Images and errors of every class that has images."""
        return errors_by_class(self.confusion, self.classes)

    @cached_property
    def calibration(self) -> Calibration:
        """How far the probabilities are from the shares of right answers, and the temperature that fits best."""
        return calibration_of(self.logits, self.labels)

    @property
    def wrong_files(self) -> list[WrongFile]:
        """The images with a wrong answer, the surest answers first."""
        shares = probabilities_of(self.logits)
        rows = np.flatnonzero(self.answers != self.labels)
        found = []
        for row in rows[np.argsort(-shares[rows, self.answers[rows]], kind="stable")].tolist():
            answer, label = int(self.answers[row]), int(self.labels[row])
            sure, right = float(shares[row, answer]), float(shares[row, label])
            found.append(WrongFile(self.names[row], self.classes[label], self.classes[answer], sure, right))
        return found
