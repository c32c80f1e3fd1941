"""Encoded images as an input of their own: image files in a tensor of BYTES, decoded for the graph."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import ImageError
from igan_zoo.images.pixels import Shape
from igan_zoo.images.stored import StoredImage
from igan_zoo.serving.engine import Arrays
from igan_zoo.serving.server.models.datatypes import bytes_of
from igan_zoo.serving.server.models.decoding import Decoder, Pixels

IMAGE_BYTES = "image_bytes"

# Bytes of pixels that a request keeps before they are run, and requests at a time that may keep so many: images that
# keep their own size may be large.
_MOST_BYTES, _TURNS = 16 * 2**20, 4
_BASE64 = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")

Run = Callable[[Pixels], Awaitable[Arrays]]


class ImageDecoding:
    """Decodes the images of requests, a batch at a time, in the threads that decode uploads too."""

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self._turns = asyncio.Semaphore(_TURNS)

    async def run(self, elements: NDArray[Any], shape: Shape, most: int, run: Run) -> Arrays:
        """Returns the outputs of ``run``, row by row, for encoded images ``[N]``, at least one.

        ``run`` is given pixels uint8 ``[n, H, W, C]`` of at most ``most`` images of one size.

        Raises:
            ImageError: an element is not an image that can be used.
        """
        pieces: list[Arrays] = []
        batch: list[Pixels] = []
        async with self._turns if shape.height is None else contextlib.nullcontext():
            async with aclosing(self.decoder.decoded(_stored(elements), shape)) as decoded:
                async for _, pixels in decoded:
                    if isinstance(pixels, ImageError):
                        raise pixels
                    if batch and not _fits(pixels, batch, most):
                        pieces.append(await run(np.stack(batch)))
                        batch.clear()
                    batch.append(pixels)
            pieces.append(await run(np.stack(batch)))
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def _fits(pixels: Pixels, batch: list[Pixels], most: int) -> bool:
    return len(batch) < most and pixels.shape == batch[0].shape and (len(batch) + 1) * pixels.nbytes <= _MOST_BYTES


async def _stored(elements: NDArray[Any]) -> AsyncIterator[StoredImage]:
    for number, element in enumerate(elements):
        yield StoredImage(f"Image {number} of {IMAGE_BYTES}", _content(bytes_of(element)))


def _content(element: bytes) -> bytes:
    """Returns the bytes of a file, which may be in base64, with or without ``data:image/png;base64,`` before it."""
    if element.startswith(b"data:image/"):
        element = element.partition(b",")[2]
    # An image file that begins like base64, as a GIF does, has other bytes soon.
    if not _BASE64.issuperset(element[:4]):
        return element
    try:
        return base64.b64decode(b"".join(element.split()), validate=True)
    except binascii.Error:
        return element
