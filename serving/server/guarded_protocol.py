"""Uvicorn's HTTP protocol with limits that it lacks: on heads, bodies that were answered early, and unread answers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from igan_zoo.serving.server.app import App
from igan_zoo.serving.server.middleware.shares import neighborhood

_MAX_HEAD = 64 * 1024
_GRACE = 0.1
# Of SO_LINGER: on, and for no time.
_AT_ONCE = struct.pack("ii", 1, 0)


class GuardedProtocol(HttpToolsProtocol):
    """Closes a connection whose client keeps the server waiting for as long as a body may take.

    It may wait for the head of a request, for the rest of a body that was answered before its end, or for room to
    write the next piece of an answer.
    """

    # Uvicorn's own, another of the same form, or none yet.
    cycle: Any
    _address = ""
    _in_head = False
    _head_bytes = 0
    _waiting: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether no request is worked on."""
        return self.cycle is None or bool(self.cycle.response_complete)

    def abort(self) -> None:
        """Ends the connection, whatever is unsent; the kernel forgets it too."""
        with contextlib.suppress(OSError, AttributeError):
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.parts = cast("App", self.config.app)
        self._wait()
        self._address = neighborhood(self.client[0] if self.client else "")
        self.parts.limits.connections.add(self._address, self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.parts.limits.connections.remove(self._address, self)
        self._wait_no_more()
        super().connection_lost(exc)  # which calls resume_writing

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD:
                self.send_400_response("The head of the request is too long.")
            elif self._waiting is None:
                self._wait()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        self._head_is_here()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._wait_no_more()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.idle and getattr(self.cycle, "more_body", False) and self._waiting is None:
            self._wait()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._stalled is None:
            self._stalled = self.loop.call_later(self.parts.settings.body_timeout, self.abort)

    def resume_writing(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        # What is closed politely is sent first, and that may be never.
        if self.transport.get_write_buffer_size():
            self.abort()
        super().timeout_keep_alive_handler()

    def _head_is_here(self) -> None:
        self._in_head = False
        self._wait_no_more()

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(self.parts.settings.body_timeout, self._late)

    def _late(self) -> None:
        # A loop that was busy calls late timers first: what has come meanwhile is read before the end.
        self._waiting = self.loop.call_later(_GRACE, self.transport.close)

    def _wait_no_more(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
