"""What comes before every gRPC method: the tokens, limits and log of the HTTP server; errors become status codes.

All methods are registered as if they took streams of undecoded messages, so that tokens are checked before the message
has arrived, and a message that cannot be parsed gets a status code.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import grpc
from google.protobuf.message import DecodeError

from igan_zoo.counts import counted
from igan_zoo.errors import IganZooError
from igan_zoo.serving.server.app import App
from igan_zoo.serving.server.errors import ProtocolError, QueueFullError, SlowBodyError
from igan_zoo.serving.server.middleware.answers import sentence_of, status_of
from igan_zoo.serving.server.middleware.shares import Held, neighborhood
from igan_zoo.serving.server.rules import GRPC, Rule

# The innermost class of an error counts, then the HTTP status that it has; what is not here is INTERNAL.
_BY_KIND: Mapping[type[IganZooError], grpc.StatusCode] = {QueueFullError: grpc.StatusCode.RESOURCE_EXHAUSTED}
_BY_STATUS: Mapping[int, grpc.StatusCode] = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


@dataclass
class Call:
    """One call: what its handler is given, and the model that it leaves for the log."""

    context: Any
    address: str
    held: Held
    # Says that the message has come.
    arrived: Callable[[], None] = lambda: None
    model: str = ""
    began: float = field(default_factory=time.monotonic)

    def remaining(self, wanted: float | None) -> float | None:
        """Returns how many seconds the answer may take: what the request says, or the call's own deadline."""
        given = [seconds for seconds in (wanted, self.context.time_remaining()) if seconds is not None]
        return min(given, default=None)


class Gate:
    """Wraps handlers of requests, ``async (request, call) -> response``, as gRPC calls them."""

    def __init__(self, app: App) -> None:
        self._app, self._settings, self._service = app, app.settings, app.service

    def unary(self, path: str, name: str, kind: Any, handler: Callable[[Any, Call], Awaitable[Any]]) -> Any:
        """Returns a handler of one request, a message of the class ``kind``."""

        async def guarded(messages: AsyncIterator[bytes], context: Any) -> Any:
            async with self._passed(path, name, context) as call:
                message = await self._whole(messages, call)
                return await handler(await self._decoded(kind, message), call)

        return guarded

    def stream(
        self, path: str, name: str, kind: Any, handler: Callable[[AsyncIterator[Any], Call], AsyncIterator[Any]]
    ) -> Any:
        """Returns a handler of a stream of requests."""

        async def guarded(messages: AsyncIterator[bytes], context: Any) -> AsyncIterator[Any]:
            async with self._passed(path, name, context) as call:
                async for response in handler(self._requests(kind, messages), call):
                    yield response

        return guarded

    def watch(self, path: str, name: str, kind: Any, handler: Callable[[Any, Call], AsyncIterator[Any]]) -> Any:
        """Returns a handler of one request that has many responses."""

        async def guarded(messages: AsyncIterator[bytes], context: Any) -> AsyncIterator[Any]:
            async with self._passed(path, name, context) as call:
                message = await self._whole(messages, call)
                async for response in handler(await self._decoded(kind, message), call):
                    yield response

        return guarded

    async def _whole(self, messages: AsyncIterator[bytes], call: Call) -> bytes:
        """Returns the one message of a call; its size can be seen only once it is here, so few come at a time."""
        settings, message = self._settings, None
        try:
            async with asyncio.timeout(settings.body_timeout), self._app.limits.turns.taken(call.address):
                message = await anext(messages, None)
        except TimeoutError:
            raise SlowBodyError(
                f"The message did not arrive within {counted(settings.body_timeout, 'second')}."
            ) from None
        if message is None:
            raise ProtocolError("The call ended without a message.")
        call.arrived()
        call.held.take(len(message))
        return message

    async def _requests(self, kind: Any, messages: AsyncIterator[bytes]) -> AsyncIterator[Any]:
        settings, waited = self._settings, 0.0
        while True:
            began = time.monotonic()
            try:
                async with asyncio.timeout(min(settings.idle_timeout, settings.upload_timeout - waited)):
                    message = await anext(messages, None)
            except TimeoutError:
                raise SlowBodyError(
                    f"The stream was silent for {counted(settings.idle_timeout, 'second')}, or open for too long; "
                    "open another."
                ) from None
            if message is None:
                return
            waited += time.monotonic() - began
            yield await self._decoded(kind, message)

    async def _decoded(self, kind: Any, message: bytes) -> Any:
        try:
            return await self._service.convert(len(message), kind.FromString, message)
        except DecodeError:
            raise ProtocolError(f"The message is not a {kind.DESCRIPTOR.name} of the protocol.") from None

    @asynccontextmanager
    async def _passed(self, path: str, name: str, context: Any) -> AsyncIterator[Call]:
        requests_log, limits = self._app.requests_log, self._app.limits
        headers = [(key.encode(), str(value).encode(errors="replace")) for key, value in context.invocation_metadata()]
        rule, address = GRPC.get(name, Rule()), address_of(context.peer())
        call = Call(context, address, Held(limits.memory, address))
        request_id = requests_log.identify(headers)
        context.set_trailing_metadata((("x-request-id", request_id.decode()),))
        code, stack = grpc.StatusCode.CANCELLED, ExitStack()
        try:
            self._app.tokens.check(rule.access, headers)
            stack.callback(call.held.release)
            if not rule.always:
                stack.enter_context(limits.entered(rule))
                call.arrived = stack.enter_context(limits.arriving(rule, address))
            yield call
            code = grpc.StatusCode.OK
        except Exception as error:
            requests_log.tell(request_id, error)
            code = _code(error)
            await context.abort(code, sentence_of(error))
        finally:
            stack.close()
            seconds = time.monotonic() - call.began
            requests_log.finish(request_id, "gRPC", path, path, call.model, code.name, seconds)


def address_of(peer: str) -> str:
    """Returns the address in gRPC's ``ipv4:192.0.2.1:5000`` or ``ipv6:%5B2001:db8::1%5D:5000``, as limits count it."""
    return neighborhood(unquote(peer).partition(":")[2].rpartition(":")[0].strip("[]"))


def _code(error: Exception) -> grpc.StatusCode:
    by_kind = (_BY_KIND[kind] for kind in type(error).__mro__ if kind in _BY_KIND)
    return next(by_kind, _BY_STATUS.get(status_of(error), grpc.StatusCode.INTERNAL))
