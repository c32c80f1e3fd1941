"""Compressed bodies, both ways: gzip, and deflate with zlib's header."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Callable, Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from igan_zoo.serving.server.errors import ProtocolError
from igan_zoo.serving.server.middleware.limits import HELD, too_large
from igan_zoo.serving.server.middleware.shares import Held
from igan_zoo.serving.server.rules import Body, rule_of
from igan_zoo.serving.server.settings import ServerSettings

# Fast rather than small: it is for slow lines, and the event loop waits for it.
_LEVEL = 1
# Less is not worth it; more is compressed in a thread.
_SMALLEST = 512
_LARGEST_AT_ONCE = 64 * 1024

_COMPRESSORS: Mapping[bytes, Callable[[bytes], bytes]] = {
    b"gzip": lambda content: gzip.compress(content, _LEVEL, mtime=0),
    b"deflate": lambda content: zlib.compress(content, _LEVEL),
}
# zlib finds out by itself which of both headers a body has.
_EITHER = zlib.MAX_WBITS | 32


class Compression:
    """ASGI middleware: gives handlers plain bodies, and clients compressed ones where they ask for them."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            for name, value in scope["headers"]:
                if name == b"content-encoding" and value.lower() != b"identity":
                    limit = self._settings.body_limit(rule_of(scope).body)
                    held = None if rule_of(scope).body is Body.STREAMED else scope[HELD]
                    receive = decompressed(receive, value.lower(), limit, held)
                elif name == b"accept-encoding":
                    encoding = chosen(value)
                    if encoding:
                        send = _compressed(send, encoding)
        await self._app(scope, receive, send)


def chosen(accepted: bytes) -> bytes | None:
    """Returns the first of our encodings that an Accept-Encoding header names and does not forbid."""
    for part in accepted.lower().split(b",") if accepted else ():
        name, _, quality = part.partition(b";")
        if name.strip() in _COMPRESSORS and quality.replace(b" ", b"").rstrip(b"0.") != b"q=":
            return name.strip()
    return None


def decompressed(receive: Receive, encoding: bytes, max_body: int, held: Held | None = None) -> Receive:
    """Returns a ``receive`` of plain bodies, which never makes more than ``max_body`` bytes of a compressed one.

    Raises:
        ProtocolError: the encoding is not known, or the body is not encoded so.
        BodyTooLargeError: the plain body has more than ``max_body`` bytes.
    """
    if encoding not in _COMPRESSORS:
        raise ProtocolError(f"The Content-Encoding {encoding[:32].decode('latin-1')!r} is neither gzip nor deflate.")
    decoder = zlib.decompressobj(_EITHER)
    got = 0

    async def decoding() -> Message:
        nonlocal got
        message = await receive()
        if message["type"] != "http.request":
            return message
        try:
            # One byte more than may come tells that it is too much.
            most = max_body - got + 1
            body = decoder.decompress(message.get("body", b""), min(most, _LARGEST_AT_ONCE))
            if decoder.unconsumed_tail and len(body) < most:
                body += await asyncio.to_thread(decoder.decompress, decoder.unconsumed_tail, most - len(body))
        except zlib.error:
            raise ProtocolError(f"The body is not {encoding.decode()}, as its Content-Encoding says.") from None
        got += len(body)
        if got > max_body:
            raise too_large(max_body)
        if held is not None:
            held.take(len(body))
        if decoder.unused_data:
            raise ProtocolError(f"The body has more bytes after the end of its {encoding.decode()} data.")
        if not message.get("more_body", False) and not decoder.eof:
            raise ProtocolError(f"The body ends in the middle of its {encoding.decode()} data.")
        return {**message, "body": body}

    return decoding


def _compressed(send: Send, encoding: bytes) -> Send:
    """Returns a ``send`` that compresses answers that come in one piece and are no images."""
    held: Message | None = None

    async def encoding_send(message: Message) -> None:
        nonlocal held
        if message["type"] == "http.response.start":
            held = message
            return
        if held is not None:
            start, held = held, None
            if message["type"] == "http.response.body" and _worth_it(start, message):
                body = await _compress(encoding, message["body"])
                headers = [(name, value) for name, value in start["headers"] if name != b"content-length"]
                headers += [
                    (b"content-length", b"%d" % len(body)),
                    (b"content-encoding", encoding),
                    (b"vary", b"Accept-Encoding"),
                ]
                start, message = {**start, "headers": headers}, {**message, "body": body}
            await send(start)
        await send(message)

    return encoding_send


def _worth_it(start: Message, message: Message) -> bool:
    if (
        message.get("more_body", False)
        or len(message.get("body", b"")) < _SMALLEST
        or start["status"] in (204, 206, 304)
    ):
        return False
    return not any(
        name == b"content-encoding" or (name == b"content-type" and value.startswith((b"image/", b"application/zip")))
        for name, value in start["headers"]
    )


async def _compress(encoding: bytes, content: bytes) -> bytes:
    compress = _COMPRESSORS[encoding]
    return compress(content) if len(content) <= _LARGEST_AT_ONCE else await asyncio.to_thread(compress, content)
