"""Questions between the processes of one server, over Unix sockets in a folder that nobody else may enter.

A question and its answer are MessagePack after four bytes with their length, one of each for a connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from igan_zoo.serving.server.counts import Counts
from igan_zoo.serving.server.errors import NotReadyError

# Seconds that loading a model may take, and anything else.
_LONG, _SHORT = 600.0, 10.0
_LENGTH = struct.Struct(">I")

Pair = tuple[bytes, bytes]
Kind = Literal["load", "unload"]


class Count(Struct, tag=True):
    """What have you counted?"""


class Change(Struct, tag=True):
    """Load or unload a model; the first process tells all others with ``here``, which is for that process alone."""

    kind: Kind
    name: str
    here: bool


class Forward(Struct, tag=True):
    """Answer a request."""

    method: str
    path: str
    query: bytes
    headers: list[Pair]
    body: bytes


class Done(Struct, tag=True):
    """It is done."""


class Failed(Struct, tag=True):
    """It could not be done; ``kind`` is the class of the error."""

    kind: str
    sentence: str


class Answered(Struct, tag=True):
    """The answer to a request."""

    status: int
    headers: list[Pair]
    body: bytes


class Counted(Struct, tag=True):
    """The answer to ``Count``."""

    counts: Counts


Question = Count | Change | Forward
Reply = Done | Failed | Answered | Counted
_QUESTIONS, _REPLIES = msgspec.msgpack.Decoder(Question), msgspec.msgpack.Decoder(Reply)
_ENCODER = msgspec.msgpack.Encoder()


@dataclass(frozen=True)
class Channel:
    """The place of one process, ``index``, among all, which listen at ``addresses``; alone, it needs none."""

    index: int = 0
    addresses: Sequence[Path] = ()

    @property
    def others(self) -> list[int]:
        """The places of the other processes."""
        return [index for index in range(len(self.addresses)) if index != self.index]

    async def listen(self, answer: Callable[[Question], Awaitable[Reply]]) -> asyncio.Server | None:
        """Answers the others from now on, if there are any."""
        if not self.addresses:
            return None

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
                reply = await answer(_QUESTIONS.decode(await _read(reader)))
                _write(writer, reply)
                await writer.drain()

        return await asyncio.start_unix_server(serve, self.addresses[self.index])

    async def ask(self, index: int, question: Question) -> Reply:
        """Returns another process's reply.

        Raises:
            NotReadyError: it does not answer.
        """
        try:
            async with asyncio.timeout(_LONG if isinstance(question, Change) else _SHORT):
                reader, writer = await asyncio.open_unix_connection(self.addresses[index])
                with contextlib.closing(writer):
                    _write(writer, question)
                    reply: Reply = _REPLIES.decode(await _read(reader))
                    return reply
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            raise NotReadyError("Another process of this server does not answer; try again in a second.") from None


async def _read(reader: asyncio.StreamReader) -> bytes:
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    return await reader.readexactly(length)


def _write(writer: asyncio.StreamWriter, content: Question | Reply) -> None:
    encoded = _ENCODER.encode(content)
    writer.write(_LENGTH.pack(len(encoded)) + encoded)
