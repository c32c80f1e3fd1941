"""Decoding uploaded images away from the event loop, a few ahead of whoever takes them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from igan_zoo.cores import cores
from igan_zoo.errors import ImageError
from igan_zoo.serving.stored_images import StoredImage

Pixels = NDArray[np.uint8]
Decode = Callable[[StoredImage], Pixels]


class Decoder:
    """As many threads as there are cores, for all requests together: so many decoded images are made at a time."""

    def __init__(self) -> None:
        self._threads = cores()
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="decode")

    async def decoded(
        self, images: AsyncIterator[StoredImage], decode: Decode
    ) -> AsyncGenerator[tuple[StoredImage, Pixels | ImageError]]:
        """Yields every image in order with its pixels, uint8 ``[H, W, C]``, or the error of one without."""
        waiting: deque[tuple[StoredImage, asyncio.Future[Pixels | ImageError]]] = deque()
        loop = asyncio.get_running_loop()
        try:
            async for image in images:
                waiting.append((image, loop.run_in_executor(self._pool, _attempt, decode, image)))
                if len(waiting) > self._threads:
                    first, future = waiting.popleft()
                    yield first, await future
            while waiting:
                first, future = waiting.popleft()
                yield first, await future
        finally:
            for _, future in waiting:
                future.cancel()


def _attempt(decode: Decode, image: StoredImage) -> Pixels | ImageError:
    try:
        return decode(image)
    except ImageError as error:
        return error
