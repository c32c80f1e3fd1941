"""Small inference requests, answered by the HTTP protocol itself.

An inference request that has come whole in one read, and asks for nothing special, takes about half as long without
ASGI's scope, messages and layers. It is answered by the same functions: token, limits, decoding, batcher, encoding,
log. All other requests go ASGI's way.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from igan_zoo.serving.engine import Arrays
from igan_zoo.serving.server.http1.connection import Connection
from igan_zoo.serving.server.middleware.answers import error_answer
from igan_zoo.serving.server.middleware.compression import chosen
from igan_zoo.serving.server.middleware.requests_log import GONE
from igan_zoo.serving.server.middleware.sending import pieces
from igan_zoo.serving.server.middleware.shares import Held
from igan_zoo.serving.server.models.batching import Outputs, Waiting
from igan_zoo.serving.server.models.hosted import HostedGraph
from igan_zoo.serving.server.protocol.http_routes import (
    INFER,
    Headers,
    Target,
    encode_answer,
    header_length,
    inference_target,
)
from igan_zoo.serving.server.protocol.service import AT_ONCE, size_of
from igan_zoo.serving.server.protocol.tensors import InferRequest, decode_request
from igan_zoo.serving.server.repeats import Repeat, head_of, prefix_of, repeat_of
from igan_zoo.serving.server.rules import HTTP

_SPECIAL = frozenset({b"content-encoding", b"transfer-encoding", b"expect", b"upgrade", b"origin", b"sec-fetch-site"})


@dataclass(slots=True, eq=False)
class _InFlight:
    """A request that is worked on, and what its answer takes."""

    connection: SmallRequests
    path: str
    request_id: bytes
    keep_alive: bool
    # What it repeats, if it does.
    repeat: Repeat | None = None
    began: float = field(default_factory=time.monotonic)
    entered: bool = False
    disconnected: bool = False
    complete: bool = False
    graph: HostedGraph = field(init=False)
    request: InferRequest = field(init=False)
    # What waits for it: its place in a batch, or a task.
    waiting: Waiting | None = None
    task: asyncio.Task[None] | None = None
    started: bool = False
    ended: bool = True

    def disconnect(self) -> None:
        """Gives the request up, if it waits."""
        self.disconnected = True
        if self.waiting is not None:
            self.connection.give_up(self, self.waiting)
        elif self.task is not None:
            self.task.cancel()

    def done(self, result: Outputs | Exception) -> None:
        """Answers with what a batch gave."""
        seconds = time.monotonic() - self.began
        self.graph.statistics.answered(seconds, succeeded=not isinstance(result, Exception))
        self.connection.answer(self, result)


class SmallRequests(Connection):
    """Holds an inference request until its end, or until the end of what was read."""

    _target: Target | None = None
    _path = ""
    _held = b""
    # What the last request began with, and what it was if it was the second to begin so.
    _prefix: bytes | None = None
    _repeat: Repeat | None = None

    def on_headers_complete(self) -> None:
        self._target = self._small()
        if self._target is None:
            super().on_headers_complete()
        else:
            self.head_is_here()
            self._held = b""

    def on_body(self, body: bytes) -> None:
        if self._target is None:
            super().on_body(body)
        else:
            self._held = self._held + body if self._held else body

    def on_message_complete(self) -> None:
        if self._target is None:
            super().on_message_complete()
            return
        target, self._target = self._target, None
        request_id = self.parts.requests_log.identify(self.headers)
        flight = _InFlight(self, self._path, request_id, self.parser.should_keep_alive())
        self.current = flight
        try:
            self._begin(flight, target)
        except Exception as error:
            self.answer(flight, error)

    def data_received(self, data: bytes) -> None:
        at_rest, repeat = self.at_rest, self._repeat
        if at_rest and repeat is not None and len(data) == repeat.size and data.startswith(repeat.prefix):
            graph = repeat.graph()
            if graph is not None and self.parts.repository.still_serves(graph, *repeat.target):
                self._begin_again(repeat, graph, data)
                return
            self._repeat = None
        before = self.current
        super().data_received(data)
        self._wait_no_longer()
        if at_rest and self.current is not before and isinstance(self.current, _InFlight):
            self._remember(self.current, data)

    def parse_on(self) -> None:
        super().parse_on()
        self._wait_no_longer()

    def _wait_no_longer(self) -> None:
        if self._target is not None and not self._left and not self.transport.is_closing():
            # The rest may come slowly, or never.
            self._target = None
            super().on_headers_complete()
            super().on_body(self._held)

    def _small(self) -> Target | None:
        """Returns whom the request is for, if it may take the short way."""
        url = self.url
        if not url.endswith(b"/infer") or b"%" in url or b"?" in url or not url.startswith(b"/"):
            return None
        # What was asked for before is answered first, and read by the client.
        if self.write_paused or not self.idle:
            return None
        headers = dict(self.headers)
        host, length = headers.get(b"host"), headers.get(b"content-length", b"0")
        if len(headers) != len(self.headers) or not _SPECIAL.isdisjoint(headers):
            return None
        if host is None or not self.parts.browsers.is_ours(host) or chosen(headers.get(b"accept-encoding", b"")):
            return None
        most = min(AT_ONCE, self.parts.settings.max_body)
        if not (length.isdigit() and int(length[:18]) <= most) or self.parser.get_http_version() != "1.1":
            return None
        self._path = url.decode("ascii")
        return inference_target(self.parser.get_method().decode("ascii"), self._path)

    def _begin(self, flight: _InFlight, target: Target) -> None:
        self.parts.tokens.check(HTTP[INFER].access, self.headers)
        self.parts.limits.enter()
        flight.entered = True
        flight.graph = graph = self.parts.repository.graph(*target)
        flight.request = request = decode_request(self._held, header_length(self.headers), graph.check_tensor)
        flight.waiting = graph.submit(request.inputs, flight.done, deadline=request.timeout)
        if flight.waiting is None:
            flight.task = self.start(self._run(flight))

    def _begin_again(self, repeat: Repeat, graph: HostedGraph, data: bytes) -> None:
        """Begins a request that is known but for its tensor, which may have the token that it had before."""
        flight = _InFlight(self, repeat.path, self.parts.requests_log.identify(repeat.headers), True, repeat)
        self.current = flight
        try:
            self.parts.limits.enter()
            flight.entered = True
            flight.graph, flight.request = graph, repeat.request
            flight.waiting = graph.submit_checked(
                repeat.tensor(data), flight.done, deadline=repeat.request.timeout, packed=repeat.names
            )
        except Exception as error:
            self.answer(flight, error)

    def _remember(self, flight: _InFlight, data: bytes) -> None:
        """Keeps what a request is known by, if the one before it was the same."""
        if flight.waiting is None or not flight.keep_alive:
            return
        prefix = prefix_of(data, self.headers, flight.request)
        if prefix is not None and prefix == self._prefix:
            self._repeat = repeat_of(prefix, flight.path, self.headers, flight.graph, flight.request)
        self._prefix = prefix

    def give_up(self, flight: _InFlight, waiting: Waiting) -> None:
        """Ends a request for whose answer nobody waits, if it has not run yet."""
        if flight.graph.batcher.withdraw(waiting):
            flight.graph.statistics.answered(time.monotonic() - flight.began, succeeded=False)
            self._finish(flight, GONE)

    async def _run(self, flight: _InFlight) -> None:
        """Runs what is no single batch."""
        try:
            result = await flight.graph.run(flight.request.inputs, deadline=flight.request.timeout)
        except asyncio.CancelledError:
            self._finish(flight, GONE)
            raise
        except Exception as error:
            self._answer_error(flight, error)
        else:
            self.answer(flight, result)

    def answer(self, flight: _InFlight, result: Outputs | Exception) -> None:
        """Answers with what the graph gave, or with what went wrong."""
        if isinstance(result, Exception):
            self._answer_error(flight, result)
        elif isinstance(result, bytes):
            self._answer_again(flight, result)
        elif size_of(result) > AT_ONCE:
            self.start(self._answer_at_length(flight, result))
        else:
            try:
                headers, content = encode_answer(flight.graph, flight.request, result)
            except Exception as error:
                self._answer_error(flight, error)
            else:
                self._answer_whole(flight, 200, headers, content)

    def _answer_error(self, flight: _InFlight, error: Exception) -> None:
        self.parts.requests_log.tell(flight.request_id, error)
        response = error_answer(error, flight.path)
        self._answer_whole(flight, response.status_code, response.raw_headers, bytes(response.body))

    def _answer_whole(self, flight: _InFlight, status: int, headers: Headers, content: bytes) -> None:
        if not flight.disconnected:
            self._write_head(flight, status, headers, content)
            self._end_answer(flight)
        self._finish(flight, status)

    def _answer_again(self, flight: _InFlight, tensors: bytes) -> None:
        repeat = flight.repeat
        if repeat is not None and not flight.disconnected:
            flight.keep_alive = flight.keep_alive and not self.parts.repository.stopping
            self.write(repeat.answer(flight.request_id, tensors, goes_on=flight.keep_alive))
            self._end_answer(flight)
        self._finish(flight, 200)

    async def _answer_at_length(self, flight: _InFlight, result: Arrays) -> None:
        """Encodes much in a thread, and writes it as fast as the client reads."""
        held = Held(self.parts.limits.memory, self.address)
        try:
            headers, content = await self.parts.repository.aside(encode_answer, flight.graph, flight.request, result)
            held.take(len(content))
        except Exception as error:
            held.release()
            self.answer(flight, error)
            return
        try:
            if not flight.disconnected:
                self._write_head(flight, 200, headers)
            for piece, _ in pieces(content):
                await self.drain()
                if flight.disconnected:
                    break
                self.write(piece)
                await asyncio.sleep(0)
            else:
                self._end_answer(flight)
        finally:
            held.release()
            self._finish(flight, GONE if flight.disconnected else 200)

    def _finish(self, flight: _InFlight, status: int) -> None:
        if flight.entered:
            self.parts.limits.slots.give()
        model = ""
        if hasattr(flight, "graph"):
            model = flight.graph.name
            # Until its next request, a connection keeps this one, but no graph that may be exchanged meanwhile.
            del flight.graph
            flight.waiting = None
        seconds = time.monotonic() - flight.began
        self.parts.requests_log.finish(flight.request_id, "POST", flight.path, INFER, model, status, seconds)

    def _write_head(self, flight: _InFlight, status: int, headers: Headers, content: bytes = b"") -> None:
        parts = [head_of(status, headers), flight.request_id, b"\r\n"]
        if not flight.keep_alive or self.parts.repository.stopping:
            flight.keep_alive = False
            parts.append(b"connection: close\r\n")
        parts += (b"\r\n", content)
        self.write(b"".join(parts))

    def _end_answer(self, flight: _InFlight) -> None:
        flight.complete = True
        self.answered()
