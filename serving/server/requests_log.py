"""The outermost layer: request ids, a line of JSON for every request, errors as answers."""

from __future__ import annotations

import itertools
import logging
import re
import secrets
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from igan_zoo.errors import BodyTooLargeError, IganZooError
from igan_zoo.serving.server.answers import error_answer
from igan_zoo.serving.server.limits import BODY
from igan_zoo.serving.server.metrics import Metrics

# Where handlers leave the protocol name of the graph, or the name of the model, that a request is for.
MODEL = "igan_zoo.model"
ROUTE = "igan_zoo.route"

_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_ENCODER = msgspec.json.Encoder()
# The client went away before its answer; nothing is sent.
_GONE = 499
# Seconds that a refused body is still read so that the client sees the answer.
_LINGER = 2.0


class Log:
    """Writes events as lines of JSON; never bodies, queries or headers, in which secrets may be."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def write(self, event: str, **fields: Any) -> None:
        """Writes one line."""
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **fields}
        # A log that cannot be written, as a closed pipe, is no reason to refuse requests.
        try:
            (self._stream or sys.stderr).write(_ENCODER.encode(line).decode() + "\n")
        except (OSError, ValueError):
            self._stream = None


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
        self, app: ASGIApp, log: Log, metrics: Metrics, paths: Mapping[Any, str], *, log_requests: bool
    ) -> None:
        """``paths`` names the route of each endpoint."""
        self._app, self._log, self._metrics, self._paths, self._log_requests = app, log, metrics, paths, log_requests
        self._next_id = _request_ids()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        request_id = _given_id(scope) or self._next_id()
        header = (b"x-request-id", request_id)
        status = 0

        async def identified(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), header]
            await send(message)

        try:
            await self._app(scope, receive, identified)
        except ClientDisconnect:
            status = _GONE
        except Exception as error:
            if not isinstance(error, IganZooError | HTTPException):
                self._log.write("failure", id=request_id.decode(), traceback=traceback.format_exc())
            if status:
                # The answer has begun; a broken connection is all that can still tell of the error.
                raise
            await _send_error(error, scope, receive, identified)
        finally:
            self._finish(scope, request_id, status, time.monotonic() - began)

    def _finish(self, scope: Scope, request_id: bytes, status: int, seconds: float) -> None:
        model = scope.get(MODEL, "")
        self._metrics.observe(self._route(scope), model, status, seconds)
        if self._log_requests:
            self._log.write(
                "request",
                id=request_id.decode(),
                method=scope["method"],
                path=scope["path"][:200],
                model=model,
                status=status,
                seconds=round(seconds, 6),
            )

    def _route(self, scope: Scope) -> str:
        """Returns a name of bounded number for what answered."""
        return scope.get(ROUTE) or self._paths.get(scope.get("endpoint"), "none")


async def _send_error(error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
    answer = error_answer(error, scope["path"])
    body = scope.get(BODY)
    if not isinstance(error, BodyTooLargeError) or not body.unread or _waits_to_send(scope):
        await answer(scope, receive, send)
        return
    await send({"type": "http.response.start", "status": answer.status_code, "headers": answer.raw_headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": True})
    await body.drain(_LINGER)
    await send({"type": "http.response.body", "body": b""})


def _waits_to_send(scope: Scope) -> bool:
    """Returns whether the client asked to be told before it sends the body."""
    return any(name == b"expect" for name, _ in scope["headers"])


def _given_id(scope: Scope) -> bytes | None:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _ID.fullmatch(value):
            return bytes(value)
    return None


def _request_ids() -> Callable[[], bytes]:
    """Returns what makes ids that no other process makes: a random part and a number."""
    start = secrets.token_hex(6).encode()
    numbers = itertools.count(1)
    return lambda: b"%s-%d" % (start, next(numbers))
