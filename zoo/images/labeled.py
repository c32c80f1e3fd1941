"""Images in one shape with their labels: what training and evaluation take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import DataError
from igan_zoo.images.pixels import ImageArray


@dataclass(frozen=True)
class LabeledImages:
    """Images uint8 ``[N, H, W, C]``, labels int64 ``[N]`` (-1: unknown) and the class names that the labels index.

    ``skipped`` has a sentence for each image that could not be used.
    """

    images: ImageArray
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def with_labels(self) -> LabeledImages:
        """Returns the images whose labels are known.

        Raises:
            DataError: there are none.
        """
        known = labeled_indices(self.labels)
        if len(known) == len(self):
            return self
        return replace(self, images=self.images[known], labels=self.labels[known])

    def numbered_by(self, known: Sequence[str], who: Path) -> LabeledImages:
        """Returns the images with the numbers that the classifier ``who`` has for their classes, some of ``known``.

        Raises:
            DataError: it does not know one of the classes.
        """
        if not set(self.classes) <= set(known):
            raise self._other_classes(known, who)
        numbers = np.array([*map(tuple(known).index, self.classes), -1])  # the last is that of no label
        return replace(self, labels=numbers[self.labels], classes=tuple(known))

    def check_classes(self, known: Sequence[str], who: Path) -> None:
        """Refuses images of other classes than those ``known`` to the classifier ``who``, or in another order.

        Raises:
            DataError: they are others.
        """
        if tuple(known) != self.classes:
            raise self._other_classes(known, who)

    def _other_classes(self, known: Sequence[str], who: Path) -> DataError:
        return DataError(f"{who} knows the classes {', '.join(known)}, but the data has {', '.join(self.classes)}.")


def labeled_indices(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns where ``labels`` are known, that is not -1.

    Raises:
        DataError: nowhere.
    """
    known = np.flatnonzero(labels >= 0)
    if len(known) == 0:
        raise DataError("None of the images has a label; give class folders, or a CSV file of labels.")
    return known
