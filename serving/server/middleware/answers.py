"""Answers that are sent from anywhere: JSON, and one sentence with the right status for each error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

from igan_zoo.errors import (
    DataError,
    IganZooError,
    ImageError,
    InterfaceError,
    OutputError,
    ScoringError,
    UnknownNameError,
)
from igan_zoo.serving.server.errors import (
    AnswerError,
    BodyTooLargeError,
    DeadlineError,
    NotReadyError,
    ProtocolError,
    QueueFullError,
    RefusedError,
    SlowBodyError,
    StorageError,
    TokenError,
    UnsupportedError,
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
    UnsupportedError: 501,
    NotReadyError: 503,
    QueueFullError: 503,
    StorageError: 503,
    OutputError: 503,
    DeadlineError: 504,
}
_HEADERS: Mapping[int, dict[str, str]] = {
    401: {"WWW-Authenticate": 'Bearer realm="igan-zoo"'},
    408: {"Connection": "close"},
    413: {"Connection": "close"},
    503: {"Retry-After": "1"},
}

# Characters of a sentence: it may repeat a name that a client made up.
_LONGEST = 600

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
    """Returns ``{"error": sentence}`` for any error; it cannot fail, whatever the error holds."""
    status = status_of(error)
    headers = dict(_HEADERS.get(status, {}))
    if isinstance(error, HTTPException):
        headers |= dict(error.headers or {})
    return json_answer({"error": sentence_of(error, path)}, status, headers)


def sentence_of(error: Exception, path: str = "") -> str:
    """Returns what a client is told of an error: one line of text, and nothing of the inside if it is not ours."""
    if isinstance(error, HTTPException):
        return plain(_SENTENCES.get(error.status_code, error.detail).format(path=path[:200]))
    if isinstance(error, OutputError):
        # Its own sentence names places, which are nobody's business but the operator's; it is in the log.
        return "The server cannot write a file that this needs, perhaps because its disk is full; try again later."
    if isinstance(error, IganZooError):
        return plain(str(error))
    return "The server failed to handle this request; its log has the reason under this answer's X-Request-Id."


def plain(text: str, most: int = _LONGEST) -> str:
    """Returns text as one line that can be encoded: names in it may be of any length and hold any bytes."""
    line = text.encode("utf-8", "replace").decode()
    if not line.isprintable():
        line = "".join(character if character.isprintable() else " " for character in line)
    return line if len(line) <= most else f"{line[: most - 2]} …"


_SENTENCES = {404: "There is no route {path}.", 405: "{path} does not take this method; see the header Allow."}
