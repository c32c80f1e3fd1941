"""What every source of images has in common: images at rest, and how they are reached by their index."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import ImageError
from igan_zoo.images.files.decoding import decode_image, read_image
from igan_zoo.images.findings import Finding
from igan_zoo.images.labels import number_labels, read_labels
from igan_zoo.images.pixels import COLOR, Shape, conform_pixels
from igan_zoo.machine.files import sha256_of

Indices = Sequence[int] | NDArray[np.int64]
Content = Path | bytes | NDArray[np.uint8] | ImageError


@dataclass(frozen=True)
class StoredImage:
    """One image before decoding: a file, the bytes of one, pixels uint8 ``[H, W, C]``, or why there is none."""

    name: str
    content: Content

    def decode(self, shape: Shape = COLOR) -> NDArray[np.uint8]:
        """Returns the pixels, uint8 ``[H, W, C]``, brought to ``shape`` as ``conform`` does.

        Raises:
            ImageError: it cannot be decoded; the message names it.
            SmallImageError: it is smaller than the shape, which does not upscale.
        """
        if isinstance(self.content, ImageError):
            raise self.content
        if isinstance(self.content, Path):
            return read_image(self.content, shape)
        if isinstance(self.content, bytes):
            return decode_image(self.content, self.name, shape)
        return conform_pixels(self.content, shape, self.name)

    def attempt(self, shape: Shape = COLOR) -> NDArray[np.uint8] | ImageError:
        """Does what ``decode`` does, but returns the error of an image that cannot be used."""
        try:
            return self.decode(shape)
        except ImageError as error:
            return error


class ImageSource(Protocol):
    """Images in an order that is always the same, each reached by its index, of any sizes.

    Fetching is cheapest in ascending order. A number that depends on a shuffle should therefore shuffle what it does
    with an index, not the order of reading.
    """

    @property
    def reference(self) -> str:
        """What to call the source in messages and records."""
        ...

    @property
    def encoded(self) -> bool:
        """Whether images have to be decoded, which is worth threads."""
        ...

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """Returns what image ``index`` is called: a file's name, or its number."""
        ...

    def fetch(self, indices: Sequence[int]) -> list[StoredImage]:
        """Returns the images of these indices, not yet decoded, in this order; one thread at a time.

        Raises:
            DataError: the source broke.
            IndexError: there is no such index.
        """
        ...

    def fingerprint(self) -> str:
        """Returns a sha256 of the contents: sources of equal fingerprint have the same images in the same order."""
        ...


class LabeledSource(ABC):
    """Images at rest, which may have labels: the base of every ``ImageSource`` but a model.

    ``paths`` are the files that they are in, and ``classes`` the names that labels index: none where no labels were
    asked for, or there are none. ``findings`` count what was skipped on the way to them.
    """

    encoded = True
    findings: tuple[Finding, ...] = ()

    def __init__(
        self,
        reference: str,
        paths: Sequence[Path] = (),
        labels: NDArray[np.int64] | None = None,
        classes: Sequence[str] = (),
    ) -> None:
        self.reference, self.paths, self.classes, self._labels = reference, tuple(paths), tuple(classes), labels

    @abstractmethod
    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        return f"image {index} of {self.reference}"

    def fetch(self, indices: Sequence[int]) -> list[StoredImage]:
        check_indices(indices, len(self))
        contents = self._contents(indices)
        return [StoredImage(self.name(index), content) for index, content in zip(indices, contents, strict=True)]

    @abstractmethod
    def _contents(self, indices: Sequence[int]) -> Sequence[Content]:
        """Returns what ``fetch`` does, without names; all indices are there."""

    def fingerprint(self) -> str:
        """Returns the sha256 of the only file, or over those of several."""
        sums = [sha256_of(path) for path in self.paths]
        return sums[0] if len(sums) == 1 else hashlib.sha256("\n".join(sums).encode()).hexdigest()

    def labels(self, indices: Indices) -> NDArray[np.int64]:
        """Returns the labels of these images, int64 ``[n]``, -1 where none is known, and reads no image for it.

        Raises:
            DataError: the source broke, or a label is none of the classes.
        """
        if self._labels is None:
            return np.full(len(indices), -1, np.int64)
        return self._labels[np.asarray(indices, np.int64)]

    def file_names(self) -> Sequence[str]:
        """Returns what a CSV file of labels calls the images, in order; none where it cannot name them.

        Raises:
            DataError: the source broke.
        """
        return ()

    def called(self, indices: Indices) -> list[str]:
        """Returns what a CSV file of labels calls these images; where it cannot name them, their numbers.

        Raises:
            DataError: the source broke.
        """
        names = self.file_names()
        numbers = np.asarray(indices, np.int64).tolist()
        return [names[number] for number in numbers] if names else [str(number) for number in numbers]

    def read_labels(self, labels_file: Path, place: str, known: Collection[str] = ()) -> None:
        """Takes the labels from a CSV file of images of ``place``, which has those ``known``, or else only these.

        Raises:
            DataError: the file is not as ``read_labels`` wants it.
        """
        names = self.file_names()
        found = read_labels(labels_file, known or set(names), place)
        self._labels, self.classes = number_labels(names, found.labels)
        self.findings = (*self.findings, *found.findings)


def read(source: ImageSource, indices: Sequence[int], shape: Shape = COLOR) -> list[NDArray[np.uint8]]:
    """Returns the images of these indices, uint8 ``[H, W, C]``, each at its own size unless ``shape`` has one.

    Raises:
        ImageError: one cannot be decoded.
        DataError: the source broke.
    """
    return [image.decode(shape) for image in source.fetch(indices)]


def check_indices(indices: Sequence[int], count: int) -> None:
    """Checks that every index is in ``0..count - 1``.

    Raises:
        IndexError: one is not.
    """
    if len(indices) and (min(indices) < 0 or max(indices) >= count):
        raise IndexError(f"There are {count} images, but index {min(indices)} to {max(indices)} was asked for.")


def consecutive_runs(indices: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yields first index and length of each run of indices that follow one another: 3 4 5 9 gives (3, 3), (9, 1)."""
    start = 0
    for position in range(1, len(indices) + 1):
        if position == len(indices) or indices[position] != indices[position - 1] + 1:
            yield int(indices[start]), position - start
            start = position
