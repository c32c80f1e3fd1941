"""Large answers, counted and sent in pieces, so that clients that do not read them hold a bounded part of memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from starlette.types import Message, Send

from igan_zoo.serving.server.middleware.shares import Held

# Bytes that are handed to a connection at a time; the next ones wait until most of these are sent. ``guarded_protocol``
# closes a connection that waits for too long, so that this is also the least rate of reading.
PIECE = 64 * 1024


def in_pieces(send: Send, held: Held, departs: Callable[[], None]) -> Send:
    """Returns a ``send`` that counts an answer as held until the end of the request, and splits it.

    ``departs`` is called before an answer that has several pieces.

    Raises:
        QueueFullError: the server holds as many bytes as it may, or as ``departs``; no answer has begun yet.
    """
    start: Message | None = None

    async def sending(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            start = message
            return
        if start is not None:
            size = len(message.get("body", b""))
            held.take(size)
            if size > PIECE or message.get("more_body", False):
                departs()
            first, start = start, None
            await send(first)
        follows = message.get("more_body", False)
        for piece, last in pieces(message.get("body", b"")):
            await send({**message, "body": piece, "more_body": follows or not last})
            if follows or not last:
                # The kernel may take all pieces at once; others have their turn between them nevertheless.
                await asyncio.sleep(0)

    return sending


def pieces(content: bytes) -> Iterator[tuple[bytes | memoryview, bool]]:
    """Yields content piece by piece, and whether each is the last."""
    if len(content) <= PIECE:
        yield content, True
        return
    view = memoryview(content)
    for at in range(0, len(content), PIECE):
        yield view[at : at + PIECE], at + PIECE >= len(content)
