"""Decoding uploaded images away from the event loop, a few ahead of whoever takes them.

Small images and large ones are decoded in threads of their own: who sends bombs of 16 million pixels waits for his own,
and one at a time of these is all the memory that they take.
"""

from __future__ import annotations

import asyncio
import io
import struct
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from igan_zoo.cores import cores
from igan_zoo.errors import ImageError
from igan_zoo.serving.stored_images import StoredImage

Pixels = NDArray[np.uint8]
Decode = Callable[[StoredImage], Pixels]

# Pixels of an image, or bytes of a file, that take long to decode.
_LARGE, _LONG = 2**20, 4 * 2**20
_PNG = b"\x89PNG\r\n\x1a\n"


class Decoder:
    """As many threads as there are cores for small images of all requests, and one for the large ones."""

    def __init__(self) -> None:
        self._ahead = cores()
        self._small = ThreadPoolExecutor(self._ahead, thread_name_prefix="decode")
        self._large = ThreadPoolExecutor(1, thread_name_prefix="decode-large")

    async def decoded(
        self, images: AsyncIterator[StoredImage], decode: Decode
    ) -> AsyncGenerator[tuple[StoredImage, Pixels | ImageError]]:
        """Yields every image in order with its pixels, uint8 ``[H, W, C]``, or the error of one without."""
        waiting: deque[tuple[StoredImage, asyncio.Future[Pixels | ImageError]]] = deque()
        loop = asyncio.get_running_loop()
        try:
            async for image in images:
                large = is_large(image)
                # Of large images none is decoded ahead, so that a request holds one, and others take turns with it.
                while waiting and (large or len(waiting) > self._ahead):
                    first, future = waiting.popleft()
                    yield first, await future
                future = loop.run_in_executor(self._large if large else self._small, _attempt, decode, image)
                if large:
                    yield image, await future
                else:
                    waiting.append((image, future))
            while waiting:
                first, future = waiting.popleft()
                yield first, await future
        finally:
            for _, future in waiting:
                future.cancel()


def is_large(image: StoredImage) -> bool:
    """Returns whether an image takes long to decode, by its own header and without decoding anything."""
    content = image.content
    if not isinstance(content, bytes):
        return False
    if len(content) > _LONG:
        return True
    if content.startswith(_PNG) and len(content) >= 24:
        width, height = struct.unpack_from(">II", content, 16)
        return bool(width * height > _LARGE)
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as opened:
            return opened.width * opened.height > _LARGE
    except Exception:
        return False  # decoding will say what is wrong


def _attempt(decode: Decode, image: StoredImage) -> Pixels | ImageError:
    try:
        return decode(image)
    except ImageError as error:
        return error
