"""Decoding uploaded images away from the event loop, a few ahead of whoever takes them.

Large images have a thread of their own: an upload of images of 16 million pixels delays only other large images, and
one of them at a time is in memory.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import ImageError
from igan_zoo.images.files.kinds import PNG
from igan_zoo.images.pixels import Shape
from igan_zoo.images.stored import StoredImage
from igan_zoo.machine.cores import cores

Pixels = NDArray[np.uint8]

# Pixels of an image, or bytes of a file, that take long to decode.
_LARGE, _LONG = 2**20, 4 * 2**20
# Segments of a JPEG file before its frame, of which cameras write a dozen; and those that only look like a frame.
_SEGMENTS, _NO_FRAMES = 1000, (0xC4, 0xC8, 0xCC)


class Decoder:
    """As many threads as there are cores for small images of all requests, and one for the large ones."""

    def __init__(self) -> None:
        self._ahead = cores()
        self._small = ThreadPoolExecutor(self._ahead, thread_name_prefix="decode")
        self._large = ThreadPoolExecutor(1, thread_name_prefix="decode-large")

    async def decoded(
        self, images: AsyncIterator[StoredImage], shape: Shape
    ) -> AsyncGenerator[tuple[StoredImage, Pixels | ImageError]]:
        """Yields every image in order with its pixels, uint8 ``[H, W, C]``, or the error of one without."""
        waiting: deque[tuple[StoredImage, asyncio.Future[Pixels | ImageError]]] = deque()
        loop = asyncio.get_running_loop()
        try:
            async for image in images:
                large = is_large(image)
                # Large images are not decoded ahead: a request holds one, and takes turns with others.
                while waiting and (large or len(waiting) > self._ahead):
                    first, future = waiting.popleft()
                    yield first, await future
                future = loop.run_in_executor(self._large if large else self._small, image.attempt, shape)
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
    """Returns whether an image takes long to decode, or does not say so in a header that is easy to read."""
    content = image.content
    if not isinstance(content, bytes):
        return False
    return len(content) > _LONG or not 0 < promised_pixels(content) <= _LARGE


def promised_pixels(content: bytes) -> int:
    """Returns how many pixels the header of a PNG or JPEG file promises, or 0 where it is not found."""
    try:
        if content.startswith(PNG):
            width, height = struct.unpack_from(">II", content, 16)
            return int(width * height)
        at = 2
        for _ in range(_SEGMENTS):
            mark, kind, length, height, width = struct.unpack_from(">BBHxHH", content, at)
            if mark != 0xFF or length < 2:
                return 0
            if 0xC0 <= kind <= 0xCF and kind not in _NO_FRAMES:
                return int(width * height)
            at += 2 + length
    except struct.error:
        pass
    return 0
