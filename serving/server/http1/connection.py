"""A connection over HTTP/1.1: httptools reads it, an app or a short way answers, and timers end what never ends.

A connection is closed whose client keeps the server waiting for as long as a body may take: for the head of a request,
for the rest of a body that was answered before its end, or for room to write the next piece of an answer.

What takes long to parse for its length, as chunks of a byte, is refused beyond what anybody needs, and parsed in turns.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections import deque
from collections.abc import Coroutine
from typing import Any
from urllib.parse import unquote

import httptools

from igan_zoo.serving.server.http1.exchange import START, Exchange
from igan_zoo.serving.server.http1.served import InProgress, Served
from igan_zoo.serving.server.middleware.shares import neighborhood

_MAX_HEAD = 64 * 1024
# Fields of a head, and of what may follow a body in chunks; requests that may come before an answer has been read.
_MAX_FIELDS, _MAX_AHEAD = 100, 32
# Chunks that a body may have, and one more for so many bytes of it.
_CHUNKS, _BYTES_OF_CHUNK = 256, 16
# Bytes that are parsed at once, and the seconds after which other connections have their turn.
_SLICE, _TURN = 8 * 1024, 0.001
_GRACE = 0.1
# Of SO_LINGER: on, and for no time.
_AT_ONCE = struct.pack("ii", 1, 0)
_NO_HTTP = "Invalid HTTP request received."
_MANY_FIELDS = f"A request may have {_MAX_FIELDS} header fields."
_SMALL_CHUNKS = f"The chunks of the body are too small; let them have more than {_BYTES_OF_CHUNK} bytes on average."


class Connection(asyncio.Protocol):
    """Answers the requests of one client, one after the other."""

    def __init__(self, served: Served) -> None:
        self.served, self.parts = served, served.app
        self.loop = asyncio.get_running_loop()
        self.current: InProgress | None = None
        self.write_paused = False
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.parser = self._new_parser()
        self._queue: deque[Exchange] = deque()
        # Whose body is being read.
        self._reading: Exchange | None = None
        self._chunks = self._body_bytes = self._trailers = 0
        # What has been read but not parsed, and why no more is read: it waits for its turn, or the client for the app.
        self._left: memoryview | bytes = b""
        self._in_turn = self._reading_paused = False
        # Nothing that comes is parsed any more.
        self._deaf = False
        self._reads = True
        self._fault = _NO_HTTP
        self._writable = asyncio.Event()
        self._in_head, self._head_bytes = False, 0
        self._waiting: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        # When the last answer was written, and the next look at how long that is ago.
        self._answered_at = self.loop.time()
        self._look: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether no request is worked on."""
        return self.current is None or self.current.complete

    @property
    def at_rest(self) -> bool:
        """Whether what comes next is the start of a request, and can be answered at once."""
        busy = self._in_head or self._reading is not None or self.write_paused
        return self.idle and not (busy or self._left or self._deaf)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]
        self.served.connections.add(self)
        peer, here = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        self._client = (str(peer[0]), int(peer[1])) if isinstance(peer, tuple) else None
        self._here = (str(here[0]), int(here[1])) if isinstance(here, tuple) else None
        self._wait()
        self._look = self.loop.call_later(self.parts.settings.idle_timeout, self._end_if_unused)
        self.address = neighborhood(self._client[0] if self._client else "")
        self.parts.limits.connections.add(self.address, self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.served.connections.discard(self)
        self.parts.limits.connections.remove(self.address, self)
        self._wait_no_more()
        if self._look is not None:
            self._look.cancel()
        self.resume_writing()
        self._left = b""
        if self.current is not None and not self.current.complete:
            self.current.disconnect()
        for exchange in self._queue:
            exchange.disconnect()
        self._queue.clear()

    def eof_received(self) -> None:
        pass

    def data_received(self, data: bytes) -> None:
        if len(data) <= _SLICE and not self._left:
            self._parse(data)
            return
        self._left = memoryview(bytes(self._left) + data if self._left else data)
        self.parse_on()

    def parse_on(self) -> None:
        """Parses what has been read until that takes long, or until the client shall wait."""
        self._in_turn, end = False, time.monotonic() + _TURN
        while self._left and not (self._reading_paused or self._deaf or self.transport.is_closing()):
            piece, self._left = bytes(self._left[:_SLICE]), self._left[_SLICE:]
            self._parse(piece)
            if time.monotonic() > end:
                break
        if self._deaf or self.transport.is_closing():
            self._left = b""
        self._read_or_not()

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Of no other protocol; the request is answered as what it is, and the connection ends.
            self.parser = self._new_parser()
        except httptools.HttpParserError:
            if not self._deaf:
                self.refuse(self._fault)
            return
        if self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD:
                self.refuse("The head of the request is too long.")
            elif self._waiting is None:
                self._wait()

    # What the parser finds.

    def on_message_begin(self) -> None:
        if len(self._queue) >= _MAX_AHEAD:
            # What comes later is as if it had come after the end; a client may ask again elsewhere.
            self._queue[-1].keep_alive, self._deaf = False, True
            raise httptools.HttpParserError
        self.url, self.headers = b"", []
        self._in_head, self._head_bytes, self._trailers = True, 0, 0
        self._chunks = self._body_bytes = 0

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self.headers) + self._trailers >= _MAX_FIELDS:
            self._fault = _MANY_FIELDS
            raise httptools.HttpParserError
        if self._in_head:
            self.headers.append((name.lower(), value))
        else:
            # What follows a body is no part of the head, whose fields have been relied on.
            self._trailers += 1

    def on_headers_complete(self) -> None:
        self.head_is_here()
        version = self.parser.get_http_version()
        url = httptools.parse_url(self.url)
        path = url.path or b"/"
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            "method": self.parser.get_method().decode("ascii"),
            "scheme": "http",
            "path": unquote(path.decode("ascii")) if b"%" in path else path.decode("ascii"),
            "raw_path": path,
            "query_string": url.query or b"",
            "root_path": "",
            "headers": self.headers,
            "client": self._client,
            "server": self._here,
            "state": {},
        }
        keep_alive = version == "1.1" and self.parser.should_keep_alive() and not self.parser.should_upgrade()
        expects = any(name == b"expect" and value.lower() == b"100-continue" for name, value in self.headers)
        self._reading = exchange = Exchange(self, scope, keep_alive=keep_alive, expects=expects)
        if self.idle:
            self._run_app(exchange)
        else:
            # What was asked for before is answered first.
            self._queue.append(exchange)
            self.pause_reading()

    def on_chunk_header(self) -> None:
        self._chunks += 1
        if self._chunks > _CHUNKS + self._body_bytes // _BYTES_OF_CHUNK:
            self._fault = _SMALL_CHUNKS
            raise httptools.HttpParserError

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._reading is not None:
            self._reading.add(body)

    def on_message_complete(self) -> None:
        self._wait_no_more()
        if self._reading is not None:
            self._reading.end()
            self._reading = None

    # What answers need.

    def write(self, data: Any) -> None:
        """Sends bytes."""
        self.transport.write(data)

    async def drain(self) -> None:
        """Returns when the client has read enough for more to be written, or is gone."""
        if self.write_paused:
            await self._writable.wait()

    def answered(self) -> None:
        """Goes on to the next request, when the answer to the current one is written."""
        current = self.current
        if current is None or self.transport.is_closing():
            return
        if not current.keep_alive:
            self.transport.close()
            return
        if self._queue:
            self._run_app(self._queue.popleft())
            if self._queue:
                return
        self.resume_reading()
        if current is not self.current:
            return
        self._answered_at = self.loop.time()
        if not current.ended and self._waiting is None:
            self._wait()

    def abandon(self) -> None:
        """Ends the connection, as an answer is not what it should be."""
        self.transport.close()

    def refuse(self, sentence: str) -> None:
        """Answers 400 to what is no request, and ends the connection."""
        if self.current is None or self.current.complete or not self.current.started:
            head = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            self.write(START[400] + head % len(sentence) + sentence.encode())
        if self.current is not None and not self.current.complete:
            self.current.disconnect()
        self.transport.close()

    def abort(self) -> None:
        """Ends the connection, whatever is unsent; the kernel forgets it too."""
        with contextlib.suppress(OSError, AttributeError):
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self.transport.abort()

    def stop(self) -> None:
        """Ends the connection once its request is answered."""
        if self.current is None or self.current.complete:
            self.transport.close()
        else:
            self.current.keep_alive = False

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs a coroutine of a request."""
        task = self.loop.create_task(work)
        task.add_done_callback(self.served.tasks.discard)
        self.served.tasks.add(task)
        return task

    def pause_reading(self) -> None:
        """Lets the client wait before it sends more."""
        self._reading_paused = True
        self._read_or_not()

    def resume_reading(self) -> None:
        """Lets it send on, once what has come already is parsed."""
        self._reading_paused = False
        self._read_or_not()

    def _read_or_not(self) -> None:
        if self._left and not self._reading_paused and not self._in_turn:
            self._in_turn = True
            self.served.wait_for_turn(self)
        reads = not (self._left or self._reading_paused or self._deaf)
        if reads != self._reads and not self.transport.is_closing():
            self._reads = reads
            (self.transport.resume_reading if reads else self.transport.pause_reading)()

    def pause_writing(self) -> None:
        self.write_paused = True
        self._writable.clear()
        if self._stalled is None:
            self._stalled = self.loop.call_later(self.parts.settings.body_timeout, self.abort)

    def resume_writing(self) -> None:
        self.write_paused = False
        self._writable.set()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def head_is_here(self) -> None:
        """Stops waiting for the head of a request."""
        self._in_head = False
        self._wait_no_more()

    def _run_app(self, exchange: Exchange) -> None:
        self.current = exchange
        self.start(exchange.run(self.parts))

    def _new_parser(self) -> Any:
        parser = httptools.HttpRequestParser(self)
        # A client that sends more after its last request still gets the answer to that.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(self.parts.settings.body_timeout, self._late)

    def _late(self) -> None:
        # A loop that was busy calls late timers first: what has come meanwhile is read before the end.
        self._waiting = self.loop.call_later(_GRACE, self.transport.close)

    def _wait_no_more(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _end_if_unused(self) -> None:
        """Ends a connection without requests; one timer looks now and then, rather than one for each request."""
        used = not self.idle or self._in_head or self._reading is not None
        left = self.parts.settings.idle_timeout - (0.0 if used else self.loop.time() - self._answered_at)
        if left > 0:
            self._look = self.loop.call_later(left, self._end_if_unused)
            return
        # What is closed politely is sent first, and that may be never.
        if self.transport.get_write_buffer_size():
            self.abort()
        self.transport.close()
