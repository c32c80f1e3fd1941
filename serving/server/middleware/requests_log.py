"""The outermost layer: request ids, a line of JSON for every request, errors as answers."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import re
import secrets
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from igan_zoo.errors import IganZooError, OutputError
from igan_zoo.serving.server.errors import StorageError
from igan_zoo.serving.server.middleware.answers import error_answer
from igan_zoo.serving.server.middleware.limits import BODY, LimitedBody
from igan_zoo.serving.server.middleware.metrics import Metrics
from igan_zoo.serving.server.middleware.tracing import TRACEPARENT, Tracing
from igan_zoo.serving.server.models.repository import Repository
from igan_zoo.serving.server.rules import ROUTE

# Where handlers leave the protocol name of the graph, or the name of the model, that a request is for.
MODEL = "igan_zoo.model"
_REQUEST_ID = b"x-request-id"
# The headers that :meth:`RequestsLog.identify` goes by.
IDENTIFYING = (_REQUEST_ID, TRACEPARENT)
_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_ENCODER = msgspec.json.Encoder()
# The client went away before its answer; nothing is sent.
GONE = 499
# Seconds that a refused body is still read so that the client sees the answer.
_LINGER = 2.0
# Seconds until lines of requests are written.
_GATHER = 0.05
# Bytes that a pipe takes in one piece.
_ATOMIC = 4096
_CLOSE = (b"connection", b"close")
_NOSNIFF = (b"x-content-type-options", b"nosniff")


class _Line(msgspec.Struct):
    """What is logged of a request."""

    time: str
    id: str
    method: str
    path: str
    model: str
    status: int | str
    seconds: float
    event: str = "request"
    worker: int | msgspec.UnsetType = msgspec.UNSET


class Log:
    """Writes events as lines of JSON; never bodies, queries or headers, in which secrets may be.

    Lines of requests are gathered and written together a moment later. ``worker`` says which process of several writes.
    """

    def __init__(self, stream: TextIO | None = None, *, worker: int | None = None) -> None:
        self._stream = stream
        self._worker: int | msgspec.UnsetType = msgspec.UNSET if worker is None else worker
        self._lines: list[_Line | msgspec.Raw] = []
        self._second, self._prefix = 0, ""

    def write(self, event: str, **fields: Any) -> None:
        """Writes one line at once."""
        content = {"time": self._now(), "event": event, **fields}
        if self._worker is not msgspec.UNSET:
            content["worker"] = self._worker
        try:
            line = _ENCODER.encode(content)
        except (TypeError, ValueError):
            # A line that tells of trouble must not make more: text may hold what no encoding has.
            line = json.dumps(content, default=repr).encode()
        self._lines.append(msgspec.Raw(line))
        self.flush()

    def request(self, request_id: str, method: str, path: str, model: str, status: int | str, seconds: float) -> None:
        """Writes the line of a request; to be called in an event loop."""
        # round() to digits takes as long as all else here.
        seconds = round(seconds * 1e6) / 1e6
        lines = self._lines
        lines.append(_Line(self._now(), request_id, method, path[:200], model, status, seconds, worker=self._worker))
        if len(lines) == 1:
            asyncio.get_running_loop().call_later(_GATHER, self.flush)

    def flush(self) -> None:
        """Writes what was gathered."""
        lines, self._lines = self._lines, []
        if not lines:
            return
        text = _ENCODER.encode_lines(lines)
        stream = self._stream or sys.stderr
        # A log that cannot be written, as to a closed pipe, is no reason to refuse requests.
        with contextlib.suppress(OSError, ValueError):
            for piece in [text] if self._worker is msgspec.UNSET else _whole_lines(text):
                stream.write(piece.decode())
                stream.flush()

    def _now(self) -> str:
        """Returns the time in UTC with milliseconds; the calendar is asked once a second."""
        now = time.time()
        if int(now) != self._second:
            self._second = int(now)
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self._second))
        return f"{self._prefix}.{int(now % 1 * 1000):03}Z"


def _whole_lines(text: bytes) -> Iterator[bytes]:
    """Yields lines that go through a pipe without another process' lines between them."""
    start = 0
    while start < len(text):
        end = text.rfind(b"\n", start, start + _ATOMIC) + 1 or text.find(b"\n", start) + 1
        yield text[start:end]
        start = end


class LogHandler(logging.Handler):
    """Brings what libraries log into the same form."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        fields = {"traceback": "".join(traceback.format_exception(*record.exc_info))} if record.exc_info else {}
        self._log.write("message", level=record.levelname, logger=record.name, message=record.getMessage(), **fields)


class RequestsLog:
    """ASGI middleware: gives each request an id, answers its errors, logs and counts it."""

    def __init__(
        self,
        app: ASGIApp,
        log: Log,
        metrics: Metrics,
        repository: Repository,
        *,
        log_requests: bool,
        tracing: Tracing | None = None,
    ) -> None:
        self._app, self._log, self._metrics, self._repository = app, log, metrics, repository
        self._log_requests, self._tracing = log_requests, tracing
        self._next_id = _request_ids()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        request_id = self.identify(scope["headers"])
        header = (_REQUEST_ID, request_id)
        status = 0

        async def identified(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), header, _NOSNIFF]
                if self._repository.stopping:
                    message["headers"].append(_CLOSE)
            await send(message)

        try:
            await self._app(scope, receive, identified)
        except ClientDisconnect:
            status = GONE
        except Exception as error:
            self.tell(request_id, error)
            if status:
                # The answer has begun; a broken connection is all that can still tell of the error.
                raise
            await _send_error(error, scope, receive, identified)
        finally:
            route = scope.get(ROUTE, "none")
            model = scope.get(MODEL, "")
            self.finish(request_id, scope["method"], scope["path"], route, model, status, time.monotonic() - began)

    def identify(self, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
        """Returns the id that a request brings, or one of its own."""
        for name, value in headers:
            if name == _REQUEST_ID and _ID.fullmatch(value):
                request_id = bytes(value)
                break
        else:
            request_id = self._next_id()
        return request_id if self._tracing is None else self._tracing.identify(request_id, headers)

    def tell(self, request_id: bytes, error: Exception) -> None:
        """Logs an error that is none of ours, or that the operator can do something about, with its traceback."""
        if isinstance(error, OutputError | StorageError) or not isinstance(error, IganZooError | HTTPException):
            trace = "".join(traceback.format_exception(error))
            self._log.write("failure", id=request_id.decode(), traceback=trace)

    def finish(
        self, request_id: bytes, method: str, path: str, route: str, model: str, status: int | str, seconds: float
    ) -> None:
        """Logs and counts an answered request; ``route`` and ``model`` must be of a bounded set.

        ``status`` is HTTP's number or gRPC's name.
        """
        self._metrics.observe(route, model, status, seconds)
        if self._tracing is not None:
            self._tracing.record(request_id, method, route, model, status, seconds)
        if self._log_requests:
            self._log.request(request_id.decode(), method, path, model, status, seconds)


async def _send_error(error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
    answer = error_answer(error, scope["path"])
    body: LimitedBody | None = scope.get(BODY)
    if answer.headers.get("connection") != "close" or body is None or not body.unread or _waits_to_send(scope):
        await answer(scope, receive, send)
        return
    await send({"type": "http.response.start", "status": answer.status_code, "headers": answer.raw_headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": True})
    await body.drain(_LINGER)
    await send({"type": "http.response.body", "body": b""})


def _waits_to_send(scope: Scope) -> bool:
    """Returns whether the client asked to be told before it sends the body."""
    return any(name == b"expect" for name, _ in scope["headers"])


def _request_ids() -> Callable[[], bytes]:
    """Returns what makes ids that no other process makes: a random part and a number."""
    start = secrets.token_hex(6).encode()
    numbers = itertools.count(1)
    return lambda: b"%s-%d" % (start, next(numbers))
