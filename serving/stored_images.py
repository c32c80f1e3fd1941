"""What every source of images to score has in common: images at rest, and how they are reached by their index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import ImageError
from igan_zoo.images.pixels import decode_image, read_image, with_channels

# An encoded image of 16 million pixels with every bit of 16-bit RGBA and nothing compressed.
MAX_ENCODED_BYTES = 128 * 2**20


@dataclass(frozen=True)
class StoredImage:
    """One image before decoding: a file, the bytes of one, pixels uint8 ``[H, W, C]``, or why there is none."""

    name: str
    content: Path | bytes | NDArray[np.uint8] | ImageError

    def decode(self, channels: int) -> NDArray[np.uint8]:
        """Returns the pixels at their own size, uint8 ``[H, W, channels]``.

        Grey becomes RGB by repetition, RGB grey by Pillow's weights; transparent pixels are laid on black, 16 bits
        become 8, and a camera's note of how it was held is followed, as everywhere in this project.

        Raises:
            ImageError: it cannot be decoded; the message names it.
        """
        if isinstance(self.content, ImageError):
            raise self.content
        if isinstance(self.content, Path):
            return read_image(self.content, channels=channels)
        if isinstance(self.content, bytes):
            return decode_image(self.content, self.name, channels=channels)
        return with_channels(self.content, channels)


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


def read(source: ImageSource, indices: Sequence[int], *, channels: int = 3) -> list[NDArray[np.uint8]]:
    """Returns the images of these indices, each uint8 ``[H, W, channels]`` at its own size.

    Raises:
        ImageError: one cannot be decoded.
        DataError: the source broke.
    """
    return [image.decode(channels) for image in source.fetch(indices)]


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
