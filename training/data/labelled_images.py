"""What every source of training images has in common: pictures to decode, a listing of them, and the decoded result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from igan_zoo.errors import DataError, ImageError
from igan_zoo.images.pixels import ImageArray, conform, decode_image, read_image, refuse_small


@dataclass(frozen=True)
class LabelledImages:
    """Images uint8 ``[N, H, W, C]``, labels int64 ``[N]`` (-1: unknown) and the class names that the labels index.

    ``skipped`` has a sentence for each image that could not be used.
    """

    images: ImageArray
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def with_labels(self) -> LabelledImages:
        """Returns the images whose labels are known.

        Raises:
            DataError: there are none.
        """
        known = labelled_indices(self.labels)
        if len(known) == len(self):
            return self
        return replace(self, images=self.images[known], labels=self.labels[known])

    def numbered_by(self, known: Sequence[str], who: Path) -> LabelledImages:
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


def labelled_indices(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns where ``labels`` are known, that is not -1.

    Raises:
        DataError: nowhere.
    """
    known = np.flatnonzero(labels >= 0)
    if len(known) == 0:
        raise DataError("None of the images has a label; give class folders, or a CSV file of labels.")
    return known


@dataclass(frozen=True)
class Shape:
    """The shape that every image is brought to, and whether its central part alone is taken (``crop``)."""

    height: int
    width: int
    channels: int
    crop: bool = False

    def __str__(self) -> str:
        return f"{self.width}x{self.height}x{self.channels}"


@dataclass(frozen=True)
class Picture:
    """One image before decoding: a file, the bytes of one, or pixels uint8 ``[H, W, 3]``, and its label or -1."""

    name: str
    content: Path | bytes | NDArray[np.uint8]
    label: int

    def decode(self, shape: Shape) -> NDArray[np.uint8]:
        """Returns the pixels, uint8 ``[height, width, channels]``; images are never enlarged.

        Raises:
            ImageError: it cannot be decoded, or is smaller than ``shape``; the message names it.
        """
        height, width, channels, crop = shape.height, shape.width, shape.channels, shape.crop
        if isinstance(self.content, Path):
            return read_image(self.content, height=height, width=width, channels=channels, crop=crop, upscale=False)
        if isinstance(self.content, bytes):
            return decode_image(
                self.content, self.name, height=height, width=width, channels=channels, crop=crop, upscale=False
            )
        refuse_small(self.content.shape[1], self.content.shape[0], self.name, height=height, width=width)
        return conform(Image.fromarray(self.content), height=height, width=width, channels=channels, crop=crop)


class Listing(Protocol):
    """The images of one split of a source, in an order that is always the same, before any is decoded."""

    @property
    def source(self) -> str: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    def __len__(self) -> int: ...

    def pictures(self, start: int = 0) -> Iterator[Picture]:
        """Yields the pictures from index ``start`` on."""
        ...

    def fingerprint(self) -> str:
        """Returns a sum that changes when the list of images, their sizes or their labels change."""
        ...


Decoded = tuple[Picture, NDArray[np.uint8] | ImageError]
