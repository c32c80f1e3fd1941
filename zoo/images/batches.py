"""Batches of images of one size from a source of any sizes, decoded while the batch before is being answered."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igan_zoo.counts import none_usable
from igan_zoo.errors import DataError, ImageError
from igan_zoo.images.files.decoding import MAX_DECODED
from igan_zoo.images.files.kinds import PNG
from igan_zoo.images.pixels import COLOR, WORTH_THREADS, Shape, quiet_pillow
from igan_zoo.images.stored import ImageSource, StoredImage
from igan_zoo.machine.cores import cores
from igan_zoo.machine.files import open_regular
from igan_zoo.machine.threads import thread_pool

# Images wait for others of their size until so many batches have come meanwhile, or so many bytes wait.
_BATCHES_MEANWHILE = 8
_BYTES_WAITING = 64 * 2**20
# How many images are one piece of work: decoding takes long and makes them large, copying pixels neither. A piece ends
# earlier where its images are large.
_ENCODED_AT_ONCE = 8
_PIXELS_AT_ONCE = 100
_BYTES_AT_ONCE = 16 * 2**20
# About how much smaller a JPEG of a photo is than its pixels.
_JPEG_RATIO = 10
_PNG_START = 24

Pixels = NDArray[np.uint8]
Order = Sequence[int] | NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """Images of one size, uint8 ``[n, H, W, C]``, and the index of each in its source, int64 ``[n]``."""

    indices: NDArray[np.int64]
    images: Pixels

    def __len__(self) -> int:
        return len(self.indices)


@dataclass(frozen=True)
class Skipped:
    """An image that does not decode, and the sentence that names it and says why."""

    index: int
    reason: str


@dataclass
class ImageBatches:
    """Goes through the images ``order[start:]`` of a source in batches: ``for batch in ImageBatches(...)``.

    Unless ``shape`` has a size images keep their own, so that a batch is not always full and not always in order: an
    image that waits for others of its size comes later, but before eight batches of images have followed it and before
    64 MiB wait. Memory is bounded by that and by eight encoded images for each thread. Which images share a batch
    depends on nothing but the source, ``order[start:]`` and ``batch_size``.

    In the loop's body ``done`` is how much of ``order`` is finished once this batch is, and ``skipped`` has the images
    among those that do not decode; behind the loop both are complete. ``done`` moves only where no image waits, so that
    a caller which keeps both with its sums goes on from ``start=done`` to the same batches.
    """

    source: ImageSource
    order: Order
    batch_size: int
    shape: Shape = COLOR
    start: int = 0
    strict: bool = False
    threads: int | None = None
    done: int = field(init=False)
    skipped: list[Skipped] = field(init=False)

    def __post_init__(self) -> None:
        self.done, self.skipped = self.start, []

    def __iter__(self) -> Iterator[Batch]:
        """Yields the batches.

        Raises:
            ImageError: an image does not decode, and ``strict`` is true.
            DataError: the source broke, or none of all its images decodes.
        """
        self.done, self.skipped = self.start, []
        position, bad, waiting, useless = self.start, list[Skipped](), WaitingImages(self.batch_size), True
        with (
            closing(decode_ahead(self.source, self.order[self.start :], self.shape, self.threads)) as decoded,
            quiet_pillow(),
        ):
            for position, (index, result) in enumerate(decoded, start=self.start + 1):
                if isinstance(result, ImageError):
                    if self.strict:
                        raise result
                    bad.append(Skipped(index, str(result)))
                    continue
                useless = False
                for batch in waiting.add(index, result):
                    if not waiting.count:
                        self._finish(position, bad)
                    yield batch
        for batch in waiting.drain():
            if not waiting.count:
                self._finish(position, bad)
            yield batch
        self._finish(position, bad)
        if useless and len(self.source) == len(self.skipped) > 0:
            first = self.skipped[0].reason
            raise DataError(f"{none_usable(len(self.source), 'image', self.source.reference)}: {first}")

    def _finish(self, position: int, bad: list[Skipped]) -> None:
        self.done = position
        self.skipped += bad
        bad.clear()


class WaitingImages:
    """Images by their shape, in the order in which the shapes came, until they are a batch; ``count`` of them wait."""

    def __init__(self, batch_size: int) -> None:
        self.count = 0
        self._came, self._bytes, self._batch_size = 0, 0, batch_size
        self._groups: dict[tuple[int, ...], list[tuple[int, Pixels]]] = {}

    def add(self, index: int, image: Pixels) -> Iterator[Batch]:
        """Takes an image in and yields what need not or must not wait any longer."""
        group = self._groups.setdefault(image.shape, [])
        group.append((index, image))
        self.count += 1
        self._came += 1
        self._bytes += image.nbytes
        if len(group) == self._batch_size:
            yield self._take(image.shape)
        if self._came >= _BATCHES_MEANWHILE * self._batch_size or self._bytes >= _BYTES_WAITING:
            yield from self.drain()

    def drain(self) -> Iterator[Batch]:
        """Yields all images."""
        while self._groups:
            yield self._take(next(iter(self._groups)))

    def _take(self, shape: tuple[int, ...]) -> Batch:
        group = self._groups.pop(shape)
        images = np.stack([image for _, image in group])
        self.count -= len(group)
        self._bytes -= images.nbytes
        self._came = self._came if self.count else 0
        return Batch(np.array([index for index, _ in group], np.int64), images)


Decoded = tuple[int, Pixels | ImageError]
_Piece = list[tuple[int, StoredImage]]


def decode_plainly(source: ImageSource, order: Order, shape: Shape = COLOR) -> Iterator[Decoded]:
    """Yields index and pixels, uint8 ``[H, W, C]``, of every image in order, or the error of one without."""
    for index in map(int, order):
        (image,) = source.fetch([index])
        yield index, image.attempt(shape)


def decode_ahead(
    source: ImageSource, order: Order, shape: Shape = COLOR, threads: int | None = None
) -> Generator[Decoded]:
    """Does what ``decode_plainly`` does in the background, as far ahead as keeps ``threads`` (all cores) busy.

    One thread fetches, in order. Encoded images are decoded in others, where the first ones are so large that it pays:
    Pillow lets other threads run meanwhile.
    """
    threads = threads or cores()
    pieces = _pieces(source, order)
    waiting: deque[Future[list[Decoded]]] = deque()

    def decoded(piece: _Piece) -> list[Decoded]:
        return [(index, image.attempt(shape)) for index, image in piece]

    with thread_pool(1) as fetching, thread_pool(threads) as decoding:
        first = fetching.submit(lambda: next(pieces, [])).result()
        in_threads = source.encoded and any(_encoded_bytes(image) >= WORTH_THREADS for _, image in first)
        waiting.append((decoding if in_threads else fetching).submit(decoded, first))
        ahead = threads + 1 if in_threads else 2

        def start() -> Future[list[Decoded]]:
            if not in_threads:
                return fetching.submit(lambda: decoded(next(pieces, [])))
            # Only one thread runs this generator, in order.
            fetched: Future[_Piece] = fetching.submit(lambda: next(pieces, []))
            return decoding.submit(lambda: decoded(fetched.result()))

        try:
            while True:
                waiting.append(start())
                if len(waiting) > ahead:
                    piece = waiting.popleft().result()
                    if not piece:
                        return
                    yield from piece
        finally:
            for future in waiting:
                future.cancel()


def _pieces(source: ImageSource, order: Order) -> Iterator[_Piece]:
    """Yields index and image of all images in order, in pieces of bounded number and, but for the last image, bytes."""
    at_once = _ENCODED_AT_ONCE if source.encoded else _PIXELS_AT_ONCE
    start, ready = 0, 1
    while start < len(order):
        piece: _Piece = []
        size = 0
        while start < len(order) and len(piece) < at_once and size < _BYTES_AT_ONCE:
            # Of pixels the images before tell how large the next ones are, so that they are fetched together.
            indices = [int(index) for index in order[start : start + min(ready, at_once - len(piece))]]
            images = source.fetch(indices)
            piece += zip(indices, images, strict=True)
            size += sum(map(_weight, images))
            start += len(indices)
            if not source.encoded:
                ready = max(1, _BYTES_AT_ONCE * len(piece) // max(1, size) - len(piece))
        yield piece


def _encoded_bytes(image: StoredImage) -> int:
    """Returns how many bytes are to be decoded."""
    content = image.content
    if isinstance(content, Path):
        return content.stat().st_size if content.is_file() else 0
    return len(content) if isinstance(content, bytes) else 0


def _weight(image: StoredImage) -> int:
    """Returns about how many bytes an image has, encoded and decoded together."""
    content = image.content
    if isinstance(content, np.ndarray):
        return content.nbytes
    if isinstance(content, bytes):
        return len(content) + _decoded_bytes(content[:_PNG_START], len(content))
    if isinstance(content, Path):
        try:
            with open_regular(content) as file:
                return _decoded_bytes(file.read(_PNG_START), os.fstat(file.fileno()).st_size)
        except OSError:
            return 0
    return 0


def _decoded_bytes(start: bytes, length: int) -> int:
    """Returns how many bytes of pixels an encoded image has: a PNG says so at its start, of a JPEG it is a guess."""
    largest = 3 * MAX_DECODED
    if start.startswith(PNG) and len(start) == _PNG_START:
        return min(largest, 3 * int.from_bytes(start[16:20]) * int.from_bytes(start[20:24]))
    return min(largest, _JPEG_RATIO * length)
