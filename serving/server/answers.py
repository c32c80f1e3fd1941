"""Answers that are sent from anywhere: JSON, and one sentence with the right status for each error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

from igan_zoo.errors import (
    AnswerError,
    BodyTooLargeError,
    DataError,
    DeadlineError,
    IganZooError,
    ImageError,
    InterfaceError,
    NotReadyError,
    ProtocolError,
    QueueFullError,
    RefusedError,
    ScoringError,
    SlowBodyError,
    TokenError,
    UnknownNameError,
    UploadError,
    UploadSizeError,
)

# The innermost class of an error counts; what is not here is the server's own failure, 500.
STATUS: Mapping[type[IganZooError], int] = {
    ProtocolError: 400,
    InterfaceError: 400,
    ImageError: 400,
    UploadError: 400,
    DataError: 400,
    ScoringError: 400,
    TokenError: 401,
    RefusedError: 403,
    UnknownNameError: 404,
    SlowBodyError: 408,
    AnswerError: 409,
    BodyTooLargeError: 413,
    UploadSizeError: 413,
    NotReadyError: 503,
    QueueFullError: 503,
    DeadlineError: 504,
}
_HEADERS: Mapping[int, dict[str, str]] = {
    401: {"WWW-Authenticate": 'Bearer realm="igan-zoo"'},
    408: {"Connection": "close"},
    413: {"Connection": "close"},
    503: {"Retry-After": "1"},
}

_ENCODER = msgspec.json.Encoder()


def json_answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Returns a response of JSON."""
    return Response(_ENCODER.encode(content), status, dict(headers or {}), media_type="application/json")


def status_of(error: Exception) -> int:
    """Returns the HTTP status that tells of an error."""
    if isinstance(error, HTTPException):
        return error.status_code
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def error_answer(error: Exception, path: str) -> Response:
    """Returns ``{"error": sentence}`` for any error; what is none of ours says nothing of the inside."""
    status = status_of(error)
    headers = dict(_HEADERS.get(status, {}))
    if isinstance(error, HTTPException):
        headers |= dict(error.headers or {})
        sentence = _SENTENCES.get(status, error.detail).format(path=path[:200])
    elif isinstance(error, IganZooError):
        sentence = str(error)
    else:
        sentence = "The server failed at this request; its log tells why under the X-Request-Id of this answer."
    return json_answer({"error": sentence}, status, headers)


_SENTENCES = {404: "There is nothing at {path}.", 405: "{path} does not take this method; see the header Allow."}
