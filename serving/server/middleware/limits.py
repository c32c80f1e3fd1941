"""Limits before anything is decoded: requests at a time, bytes of bodies, the time that they and answers may take."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from igan_zoo.counts import counted
from igan_zoo.serving.server.errors import BodyTooLargeError, NotReadyError, ProtocolError, SlowBodyError
from igan_zoo.serving.server.middleware.connections import Connections
from igan_zoo.serving.server.middleware.sending import in_pieces
from igan_zoo.serving.server.middleware.shares import Held, Share, Slots, Turns, neighborhood
from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.rules import Body, Rule, rule_of
from igan_zoo.serving.server.settings import SMALL_BODY, ServerSettings

# Where the body that is being read, and what the request holds of the memory for all, are in the scope.
BODY, HELD = "igan_zoo.body", "igan_zoo.held"
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})


class Limits:
    """ASGI middleware: refuses what is too much with a typed error, which an outer one answers."""

    def __init__(self, app: ASGIApp, repository: Repository, settings: ServerSettings) -> None:
        self._app, self._repository, self._settings = app, repository, settings
        self.connections = Connections(settings.max_connections)
        self.slots = Slots(settings.concurrency, settings.per_address)
        self.turns = Turns(max(2, settings.max_bodies // settings.max_body))
        each = settings.max_bodies // 2 if settings.per_address else 0
        self.memory = Share(settings.max_bodies, each, "bytes of requests and answers")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or rule_of(scope).always:
            await self._app(scope, receive, send)
            return
        rule, address = rule_of(scope), neighborhood((scope.get("client") or ("", 0))[0])
        held = scope[HELD] = Held(self.memory, address)
        with self.entered(rule), contextlib.ExitStack() as stack:

            def departs() -> None:
                self.slots.departing.take(address)
                stack.callback(self.slots.departing.give, address)

            send = in_pieces(send, held, departs)
            stack.callback(held.release)
            if scope["method"] not in _WITHOUT_BODY:
                limit = self._settings.body_limit(rule.body)
                arrived = stack.enter_context(self.arriving(rule, address))
                receive = scope[BODY] = LimitedBody(receive, limit, self._settings, rule.body, held, arrived)
                _check_length(scope, limit)
            await self._app(scope, receive, send)

    @contextlib.contextmanager
    def entered(self, rule: Rule) -> Iterator[None]:
        """Counts a request in, and out at the end.

        Raises:
            NotReadyError: the server is stopping.
            QueueFullError: it works on as many as it may.
        """
        self.enter(works=rule.works)
        try:
            yield
        finally:
            self.slots.give()

    def enter(self, *, works: bool = True) -> None:
        """Counts a request in, as :meth:`entered` does; ``slots.give`` counts it out."""
        if self._repository.stopping:
            raise NotReadyError("The server is stopping; ask another one.")
        self.slots.take(works=works)

    @contextlib.contextmanager
    def arriving(self, rule: Rule, address: str) -> Iterator[Callable[[], None]]:
        """Counts a body that is on its way, until the end or until the callable that is given says that it is here.

        A stream is counted as one, too, until its end.

        Raises:
            QueueFullError: as many are on their way, in all or from this address.
        """
        share = self.slots.arriving[rule.body]
        share.take(address)
        with contextlib.ExitStack() as stack:
            stack.callback(share.give, address)
            yield stack.close if rule.body is not Body.STREAMED else lambda: None


def _check_length(scope: Scope, limit: int) -> None:
    for name, value in scope["headers"]:
        if name == b"content-length":
            if not value.isdigit():
                raise ProtocolError("Content-Length must be a number of bytes.")
            if len(value) > 18 or int(value) > limit:
                raise too_large(limit)


class LimitedBody:
    """A ``receive`` that raises once the body has more than ``most`` bytes or makes the server wait for too long.

    A ``streamed`` body may take long in all, but must come at the least rate. ``unread`` says whether more of it may
    come. Only time spent waiting here counts: a busy server must not blame the client.
    """

    def __init__(
        self,
        receive: Receive,
        most: int,
        settings: ServerSettings,
        kind: Body,
        held: Held,
        arrived: Callable[[], None] = lambda: None,
    ) -> None:
        self._receive, self._most, self._settings, self._held, self._arrived = receive, most, settings, held, arrived
        self._streamed = kind is Body.STREAMED
        self._waited, self._got = 0.0, 0
        self.unread = True

    async def __call__(self) -> Message:
        """Returns the next message.

        Raises:
            BodyTooLargeError: at the byte after the last that is taken.
            SlowBodyError: the body did not come in time.
            QueueFullError: all bodies together are too large.
        """
        if not self.unread:
            return await self._receive()
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._patience()):
                message = await self._receive()
        except TimeoutError:
            raise self._too_slow() from None
        self._waited += time.monotonic() - began
        count = len(message.get("body", b""))
        self._got += count
        self.unread = message.get("more_body", False)
        if self._got > self._most:
            raise too_large(self._most)
        if not self._streamed:
            self._held.take(count)
        if not self.unread:
            self._arrived()
        return message

    def _patience(self) -> float:
        """Returns the seconds that may be waited for the next bytes."""
        settings = self._settings
        if not self._streamed:
            return max(0.0, settings.body_timeout - self._waited)
        in_all = min(settings.body_timeout + self._got / settings.min_rate, settings.upload_timeout)
        return max(0.0, min(settings.body_timeout, in_all - self._waited))

    def _too_slow(self) -> SlowBodyError:
        seconds, rate = self._settings.body_timeout, self._settings.min_rate
        if not self._streamed:
            return SlowBodyError(f"The body of the request did not arrive within {counted(seconds, 'second')}.")
        return SlowBodyError(
            f"The body of the request arrived too slowly; it must not pause for {counted(seconds, 'second')}, bring "
            f"{rate} bytes a second on average, and be here after {counted(self._settings.upload_timeout, 'second')} "
            "of waiting."
        )

    async def drain(self, seconds: float) -> None:
        """Reads on for a while and forgets it: a client that only writes would else not see its answer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.unread:
                    self.unread = (await self._receive()).get("more_body", False)


def too_large(limit: int) -> BodyTooLargeError:
    """Returns the error of a body beyond the limit."""
    few = limit == SMALL_BODY
    rest = "this route needs no more." if few else "send less at a time."
    return BodyTooLargeError(f"A request may have {limit} bytes, as sent and decompressed; {rest}")
