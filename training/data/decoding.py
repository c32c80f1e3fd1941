"""Decoding many pictures in order, on all cores, and what becomes of those that cannot be used."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import DataError, ImageError, SmallImageError
from igan_zoo.images.pixels import WORTH_THREADS, quiet_pillow
from igan_zoo.machine.progress import Progress
from igan_zoo.machine.threads import map_ahead
from igan_zoo.training.data.labelled_images import Decoded, Listing, Picture, Shape

_CHUNK = 32
_REPORTED = 5
# So many pictures must have been seen before a source is given up in the middle for having too many small ones.
_JUDGED_AFTER = 100


def decode_plainly(pictures: Iterable[Picture], shape: Shape) -> Iterator[Decoded]:
    """Yields every picture in order with its pixels, uint8 ``[H, W, C]``, or with the error of one that has none."""
    return (_decoded(picture, shape) for picture in pictures)


def decode_in_threads(pictures: Iterable[Picture], shape: Shape) -> Generator[Decoded]:
    """Does what ``decode_plainly`` does on all cores: Pillow lets other threads run while it decodes."""
    return map_ahead(lambda picture: _decoded(picture, shape), pictures, at_once=_CHUNK)


def _decoded(picture: Picture, shape: Shape) -> Decoded:
    try:
        return picture, picture.decode(shape)
    except ImageError as error:
        return picture, error


def decode(pictures: Iterator[Picture], shape: Shape) -> Iterator[Decoded]:
    """Does what ``decode_plainly`` does, in threads where the first picture says that they pay."""
    first = next(pictures, None)
    if first is None:
        return iter(())
    large = isinstance(first.content, Path) or len(first.content) >= WORTH_THREADS
    return (decode_in_threads if large else decode_plainly)(chain([first], pictures), shape)


@dataclass
class UsableImages:
    """Goes through the images of ``listing`` from index ``start`` on, and keeps a sentence for each unusable one.

    Images that cannot be decoded are skipped, and so are those that would have to be enlarged as long as they are no
    more than half of all. With ``strict`` the first of either kind is an error.

    # Differs from the 2016 code: its conversion of ImageNet enlarges small images.
    """

    listing: Listing
    shape: Shape
    strict: bool = False
    start: int = 0
    skipped: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[tuple[int, Picture, NDArray[np.uint8]]]:
        """Yields index in the listing, picture and pixels, uint8 ``[H, W, C]``.

        Raises:
            ImageError: an image cannot be used, and ``strict`` is true.
            DataError: more than half of the images are smaller than the shape, or a label is none of the classes.
        """
        small: list[str] = []
        index = self.start - 1
        with (
            Progress(f"reading {self.listing.source}", len(self.listing), unit="images", done=self.start) as progress,
            quiet_pillow(),
        ):
            decoded = decode(self.listing.pictures(self.start), self.shape)
            for index, (picture, result) in enumerate(decoded, start=self.start):
                progress.advance(1)
                if not -1 <= picture.label < len(self.listing.classes):
                    classes = len(self.listing.classes)
                    raise DataError(f"{picture.name} has the label {picture.label}, but there are {classes} classes.")
                if not isinstance(result, ImageError):
                    yield index, picture, result
                    continue
                if self.strict:
                    raise result
                self.skipped.append(str(result).encode("utf-8", "replace").decode())
                if isinstance(result, SmallImageError):
                    small.append(str(result))
                    self._judge(small, index - self.start + 1, at_least=_JUDGED_AFTER)
        self._judge(small, index - self.start + 1)

    def nothing_usable(self) -> DataError:
        """Returns the error for a source of which every image was skipped."""
        return DataError(
            f"None of the {len(self.listing)} images of {self.listing.source} can be used: {self.skipped[0]}"
        )

    def _judge(self, small: list[str], seen: int, at_least: int = 0) -> None:
        if seen >= at_least and 2 * len(small) > seen:
            raise DataError(
                f"{len(small)} of {seen} images of {self.listing.source} are smaller than the {self.shape} wanted "
                f"({small[0].rstrip('.')}); choose a smaller size, since images are never enlarged."
            )


def report_skipped(skipped: Sequence[str]) -> None:
    """Names on stderr the first images that were skipped, and counts them."""
    for sentence in skipped[:_REPORTED]:
        sys.stderr.write(f"Skipped: {sentence}\n")
    if len(skipped) > _REPORTED:
        sys.stderr.write(f"Skipped {len(skipped)} images in all.\n")
