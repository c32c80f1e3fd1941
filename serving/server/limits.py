"""Limits before anything is read or decoded: requests at a time, bytes of a body, time until it has come."""

from __future__ import annotations

import asyncio
import contextlib
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from igan_zoo.errors import BodyTooLargeError, NotReadyError, ProtocolError, QueueFullError, SlowBodyError
from igan_zoo.serving.server.repository import Repository
from igan_zoo.serving.server.settings import STREAMED, ServerSettings

# What still answers when the server is full or stops.
_ALWAYS = frozenset({"/v2/health/live", "/v2/health/ready"})
# Where the body that is being read stands in the scope.
BODY = "igan_zoo.body"
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})


class Limits:
    """ASGI middleware: refuses what is too much with a typed error, which an outer one answers."""

    def __init__(self, app: ASGIApp, repository: Repository, settings: ServerSettings) -> None:
        self._app, self._repository, self._settings = app, repository, settings
        self._now = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _ALWAYS:
            await self._app(scope, receive, send)
            return
        self.enter()
        try:
            if scope["method"] not in _WITHOUT_BODY:
                limit, streamed = self._settings.body_limit(scope["path"]), scope["path"] in STREAMED
                receive = scope[BODY] = LimitedBody(receive, limit, self._settings.body_timeout, streamed=streamed)
                _check_length(scope, limit)
            await self._app(scope, receive, send)
        finally:
            self.leave()

    def enter(self) -> None:
        """Counts a request in.

        Raises:
            NotReadyError: the server is stopping.
            QueueFullError: it works on as many as it may.
        """
        if self._repository.stopping:
            raise NotReadyError("The server is stopping; ask another one.")
        if self._now >= self._settings.concurrency:
            raise QueueFullError(f"The server works on {self._now} requests already; try again in a second.")
        self._now += 1

    def leave(self) -> None:
        """Counts a request out."""
        self._now -= 1


def _check_length(scope: Scope, limit: int) -> None:
    for name, value in scope["headers"]:
        if name == b"content-length":
            if not value.isdigit():
                raise ProtocolError("Content-Length must be a number of bytes.")
            if len(value) > 18 or int(value) > limit:
                raise too_large(limit)


class LimitedBody:
    """A ``receive`` that raises once the body has more than ``max_body`` bytes or takes too long.

    A ``streamed`` body may take long, but not to send its next bytes. ``unread`` says whether more of it may come.
    """

    def __init__(self, receive: Receive, max_body: int, timeout: float, *, streamed: bool = False) -> None:
        self._streamed = streamed
        self._receive, self._max_body, self._timeout = receive, max_body, timeout
        self._deadline = time.monotonic() + timeout
        self._got = 0
        self.unread = True

    async def __call__(self) -> Message:
        """Returns the next message.

        Raises:
            BodyTooLargeError: at the byte after the last that is taken.
            SlowBodyError: the body has not ended in time, or if streamed, not gone on.
        """
        if not self.unread:
            return await self._receive()
        if self._streamed:
            self._deadline = time.monotonic() + self._timeout
        try:
            async with asyncio.timeout(max(0.0, self._deadline - time.monotonic())):
                message = await self._receive()
        except TimeoutError:
            raise SlowBodyError(f"The body of the request had not come after {self._timeout:g} seconds.") from None
        self._got += len(message.get("body", b""))
        self.unread = message.get("more_body", False)
        if self._got > self._max_body:
            raise too_large(self._max_body)
        return message

    async def drain(self, seconds: float) -> None:
        """Reads on for a while and forgets it: a client that only writes would else not see its answer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.unread:
                    self.unread = (await self._receive()).get("more_body", False)


def too_large(limit: int) -> BodyTooLargeError:
    """Returns the error of a body beyond the limit."""
    return BodyTooLargeError(f"A request may have {limit} bytes, as sent and decompressed; send less at a time.")
