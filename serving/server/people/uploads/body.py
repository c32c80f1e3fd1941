"""A request's body as it arrives, read in pieces of any length; no more than a piece is kept."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator


class Body:
    """Reads ahead only as far as asked. ``sha256`` is of everything that has arrived."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._buffer = bytearray()
        self._digest = hashlib.sha256()
        self._ended = False

    @property
    def sha256(self) -> str:
        """The hexadecimal sha256 of what has arrived so far; of the whole body behind ``drain``."""
        return self._digest.hexdigest()

    async def peek(self, length: int) -> bytes:
        """Returns the next ``length`` bytes, or fewer at the end, and leaves them where they are."""
        while len(self._buffer) < length and await self._more():
            pass
        return bytes(self._buffer[:length])

    async def read(self, length: int) -> bytes:
        """Returns the next ``length`` bytes, or fewer at the end."""
        taken = await self.peek(length)
        del self._buffer[: len(taken)]
        return taken

    async def skip(self, length: int) -> int:
        """Goes on by ``length`` bytes without keeping them, and returns by how many: fewer at the end."""
        left = length
        while left and (self._buffer or await self._more()):
            here = min(left, len(self._buffer))
            del self._buffer[:here]
            left -= here
        return length - left

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yields the rest in pieces as they come."""
        while self._buffer or await self._more():
            chunk = bytes(self._buffer)
            self._buffer.clear()
            yield chunk

    async def drain(self) -> None:
        """Takes in the rest and forgets it."""
        async for _ in self.chunks():
            pass

    async def _more(self) -> bool:
        """Takes in the next piece that is not empty, and returns whether there was one."""
        while not self._ended:
            chunk = await anext(self._chunks, None)
            if chunk is None:
                self._ended = True
            elif chunk:
                self._digest.update(chunk)
                self._buffer += chunk
                return True
        return False
