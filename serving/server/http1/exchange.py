"""One request and its answer, as ASGI sees them."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Message, Scope

if TYPE_CHECKING:
    from igan_zoo.serving.server.http1.connection import Connection

START = {status.value: b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}

# Bytes of a body that wait for the app before the client has to.
_AHEAD = 64 * 1024
_WITHOUT_BODY = (204, 304)


class Exchange:
    """The ``receive`` and ``send`` of a request.

    ``ended`` says that its body is here whole, ``started`` that its answer has begun, ``complete`` that it is written,
    ``disconnected`` that nobody waits for it. ``expects`` says that the client waits to be told to send its body.
    """

    def __init__(self, connection: Connection, scope: Scope, *, keep_alive: bool, expects: bool) -> None:
        self._connection, self.scope, self.keep_alive, self._expects = connection, scope, keep_alive, expects
        self.ended = self.complete = self.disconnected = False
        self._event = asyncio.Event()
        self._pieces: list[bytes] = []
        self._waiting = 0
        self._told_end = False
        # The head of the answer until its first bytes go with it, then nothing.
        self._head: list[bytes] | None = None
        self.started = self._chunked = False
        # Bytes that the answer still promises, None if it does not say how many.
        self._promised: int | None = None

    def add(self, piece: bytes) -> None:
        """Takes bytes of the body."""
        if self.complete:
            return
        self._pieces.append(piece)
        self._waiting += len(piece)
        if self._waiting > _AHEAD:
            self._connection.pause_reading()
        self._event.set()

    def end(self) -> None:
        """Takes the end of the body."""
        self.ended = True
        self._event.set()

    def disconnect(self) -> None:
        """Tells the app that nobody waits any more."""
        self.disconnected = True
        self._event.set()

    async def run(self, app: ASGIApp) -> None:
        """Lets an app answer; one that fails to answer ends the connection."""
        try:
            await app(self.scope, self.receive, self.send)
        except Exception as error:
            self._connection.parts.requests_log.tell(b"", error)
        finally:
            if not self.complete and not self.disconnected:
                self._connection.abandon()

    async def receive(self) -> Message:
        """Returns the next piece of the body, or that there is nothing more to come."""
        if self._expects:
            self._expects = False
            self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not (self.complete or self.disconnected or self._pieces or (self.ended and not self._told_end)):
            self._event.clear()
            self._connection.resume_reading()
            await self._event.wait()
        if self.complete or self.disconnected:
            return {"type": "http.disconnect"}
        pieces, self._pieces, self._waiting = self._pieces, [], 0
        self._told_end = self.ended
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return {"type": "http.request", "body": body, "more_body": not self.ended}

    async def send(self, message: Message) -> None:
        """Writes a part of the answer; waits while the client does not read."""
        if self._connection.write_paused and not self.disconnected:
            await self._connection.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.start" and not self.started:
            self._start(message)
        elif message["type"] == "http.response.body" and self.started and not self.complete:
            self._write(message.get("body", b""), last=not message.get("more_body", False))
        else:
            raise RuntimeError(f"The app sent {message['type']} where it has no place.")

    def _start(self, message: Message) -> None:
        status, headers = message["status"], list(message.get("headers", ()))
        self.started, self._expects = True, False
        lines = [START[status]]
        closes = framed = False
        for name, value in headers:
            if b"\r" in value or b"\n" in value:
                raise RuntimeError(f"The header {name!r} has a line break.")
            lowered = name.lower()
            if lowered == b"content-length":
                self._promised, framed = int(value), True
            elif lowered == b"connection" and value.lower() == b"close":
                closes, self.keep_alive = True, False
            lines.append(b"%s: %s\r\n" % (name, value))
        if self.scope["method"] == "HEAD" or status in _WITHOUT_BODY:
            self._promised = None
        elif not framed:
            # A client of HTTP/1.0 sees the end of the answer by that of the connection.
            self._chunked = self.scope["http_version"] == "1.1"
            if self._chunked:
                lines.append(b"transfer-encoding: chunked\r\n")
            else:
                self.keep_alive = False
        if not self.keep_alive and not closes:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        self._head = lines

    def _write(self, body: Any, *, last: bool) -> None:
        parts, self._head = self._head or [], None
        if self.scope["method"] == "HEAD":
            body = b""
        elif self._promised is not None:
            self._promised -= len(body)
            if self._promised < 0 or (last and self._promised):
                raise RuntimeError("The app sent more or fewer bytes than it promised.")
        if self._chunked:
            if body:
                parts += (b"%x\r\n" % len(body), body, b"\r\n")
            if last:
                parts.append(b"0\r\n\r\n")
        elif body:
            parts.append(body)
        if len(parts) == 1:
            self._connection.write(parts[0])
        elif parts:
            self._connection.write(b"".join(parts))
        if last:
            self.complete = True
            self._event.set()
            self._connection.answered()
