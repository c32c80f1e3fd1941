"""Decoding many pictures in order, on all cores, and what becomes of those that cannot be used."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import DataError, ImageError, SmallImageError
from igan_zoo.progress import Progress
from igan_zoo.training.listings import Decoded, Listing, Picture, Shape

_CHUNK = 32
# So many pictures must have been seen before a source is given up in the middle for having too many small ones.
_JUDGED_AFTER = 100


def decode_plainly(pictures: Iterable[Picture], shape: Shape) -> Iterator[Decoded]:
    """Yields every picture in order with its pixels, uint8 ``[H, W, C]``, or with the error of one that has none."""
    for picture in pictures:
        try:
            yield picture, picture.decode(shape)
        except ImageError as error:
            yield picture, error


def decode_in_threads(pictures: Iterable[Picture], shape: Shape) -> Iterator[Decoded]:
    """Does what ``decode_plainly`` does on all cores: Pillow lets other threads run while it decodes."""
    threads = cores()
    remaining = iter(pictures)
    chunks = iter(lambda: list(islice(remaining, _CHUNK)), [])
    waiting: deque[Future[list[Decoded]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for chunk in chunks:
                waiting.append(pool.submit(lambda some: list(decode_plainly(some, shape)), chunk))
                if len(waiting) > 2 * threads:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def cores() -> int:
    """Returns how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class UsableImages:
    """Goes through the images of ``listing`` from index ``start`` on, and keeps a sentence for each unusable one.

    Images that cannot be decoded are skipped, and so are those that would have to be enlarged as long as they are no
    more than half of all. With ``strict`` the first of either kind is an error.
    """

    listing: Listing
    shape: Shape
    strict: bool = False
    start: int = 0
    skipped: list[str] = field(default_factory=list)
    decode: Callable[[Iterable[Picture], Shape], Iterator[Decoded]] = decode_in_threads

    def __iter__(self) -> Iterator[tuple[int, Picture, NDArray[np.uint8]]]:
        """Yields index in the listing, picture and pixels, uint8 ``[H, W, C]``.

        Raises:
            ImageError: an image cannot be used, and ``strict`` is true.
            DataError: more than half of the images are smaller than the shape.
        """
        small = 0
        index = self.start - 1
        with (
            Progress(f"reading {self.listing.source}", len(self.listing), unit="images", done=self.start) as progress,
            warnings.catch_warnings(),
        ):
            # Pillow warns of damaged camera notes; the pixels are whole.
            warnings.filterwarnings("ignore", module="PIL")
            for index, (picture, result) in enumerate(
                self.decode(self.listing.pictures(self.start), self.shape), start=self.start
            ):
                progress.advance(1)
                if not isinstance(result, ImageError):
                    yield index, picture, result
                    continue
                if self.strict:
                    raise result
                self.skipped.append(str(result))
                small += isinstance(result, SmallImageError)
                seen = index - self.start + 1
                if seen >= _JUDGED_AFTER and 2 * small > seen:
                    raise self._too_small(small, seen)
        if 2 * small > index - self.start + 1:
            raise self._too_small(small, index - self.start + 1)

    def _too_small(self, small: int, seen: int) -> DataError:
        first = next(sentence for sentence in self.skipped if "smaller than" in sentence).rstrip(".")
        return DataError(
            f"{small} of {seen} images of {self.listing.source} are smaller than the {self.shape} wanted ({first}); "
            "choose a smaller size, since images are never enlarged."
        )
