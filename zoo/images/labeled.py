"""Images in one shape with their labels: what training and evaluation take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import DataError
from igan_zoo.images.pixels import ImageArray
from igan_zoo.images.stored import LabeledSource


@dataclass(frozen=True)
class LabeledImages:
    """Images uint8 ``[N, H, W, C]``, labels int64 ``[N]`` (-1: unknown) and the class names that the labels index.

    ``skipped`` has a sentence for each image that could not be used. ``source`` is where the images are from, whose
    ``findings`` count what was skipped before, and ``places`` int64 ``[N]`` are their indices there, None where
    these are ``0..N - 1``.
    """

    images: ImageArray
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    source: LabeledSource | None = None
    places: NDArray[np.int64] | None = None

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
        places = known if self.places is None else self.places[known]
        return replace(self, images=self.images[known], labels=self.labels[known], places=places)

    def names(self, rows: NDArray[np.int64] | None = None) -> list[str]:
        """Returns what a CSV file of labels calls the images, or those of ``rows``: paths, or numbers in the source.

        Raises:
            DataError: the source broke.
        """
        rows = np.arange(len(self)) if rows is None else rows
        places = rows if self.places is None else self.places[rows]
        return self.source.called(places) if self.source is not None else [str(place) for place in places.tolist()]

    def numbered_by(self, known: Sequence[str], who: Path) -> LabeledImages:
        """Returns the images with the numbers that the classifier ``who`` has for their classes, some of ``known``.

        Raises:
            DataError: it does not know one of the classes.
        """
        labels = numbered_by(self.labels, self.classes, known, who)
        return replace(self, labels=labels, classes=tuple(known))

    def check_classes(self, known: Sequence[str], who: Path) -> None:
        """Refuses images of other classes than those ``known`` to the classifier ``who``, or in another order.

        Raises:
            DataError: they are others.
        """
        if tuple(known) != self.classes:
            raise _other_classes(self.classes, known, who)


def numbered_by(
    labels: NDArray[np.int64], classes: Sequence[str], known: Sequence[str], who: Path
) -> NDArray[np.int64]:
    """Returns labels of ``classes`` with the numbers that the classifier ``who`` has for these, some of ``known``.

    Raises:
        DataError: it does not know one of the classes.
    """
    check_known(classes, known, who)
    numbers = np.array([*map(tuple(known).index, classes), -1])  # the last is that of no label
    return numbers[labels]


def check_known(classes: Sequence[str], known: Sequence[str], who: Path) -> None:
    """Refuses ``classes`` that are not all among those ``known`` to the classifier ``who``.

    Raises:
        DataError: one is not.
    """
    if not set(classes) <= set(known):
        raise _other_classes(classes, known, who)


def _other_classes(classes: Sequence[str], known: Sequence[str], who: Path) -> DataError:
    return DataError(f"{who} knows the classes {', '.join(known)}, but the data has {', '.join(classes)}.")


def labeled_indices(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns where ``labels`` are known, that is not -1.

    Raises:
        DataError: nowhere.
    """
    known = np.flatnonzero(labels >= 0)
    if len(known) == 0:
        raise DataError("None of the images has a label; give class folders, or a CSV file of labels.")
    return known
