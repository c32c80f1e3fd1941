"""The loop of a server: its ports, its end, and every accepted request answered before that."""

from __future__ import annotations

import asyncio
import contextlib
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from igan_zoo.serving.server.app import App
from igan_zoo.serving.server.http1.served import Served
from igan_zoo.serving.server.small_requests import SmallRequests

if TYPE_CHECKING:
    from igan_zoo.serving.server.protocol.grpc_service import GrpcServer

BACKLOG = 2048
# Seconds between looks at whether the server shall end.
_LOOK = 0.1
# How long clients with open connections are still told that the server stops before these are closed.
_FAREWELL = 0.25
# Seconds for taking over connections that the kernel has accepted, and for their first requests to be read.
_ACCEPTED, _FIRST_WORD = 1.0, 0.05
# SIGHUP, from a closed terminal, stops the server as SIGTERM does; SIGUSR1 and SIGUSR2, from log rotation, do nothing.
_SIGNALS = [signal.SIGTERM, signal.SIGINT, *(getattr(signal, name) for name in ("SIGHUP",) if hasattr(signal, name))]
_IGNORED = [getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name)]


class HttpServer:
    """Serves an app until it ``should_exit``, which a signal sets, or its models cannot be loaded.

    First the port is closed and every request on an open connection is answered, new ones with 503 and the end of the
    connection; only then are the idle connections closed.
    """

    def __init__(
        self, app: App, announce: Callable[[int | None], None] = lambda _: None, companion: GrpcServer | None = None
    ) -> None:
        self._app, self._announce, self._companion = app, announce, companion
        self._served = Served(app)
        self.started = self.should_exit = False
        self._at_once = False

    def run(self, listeners: Sequence[socket.socket], once_ready: Callable[[], object] = lambda: None) -> None:
        """Serves at sockets, which it closes; blocks. ``once_ready`` is called when the models have been loaded."""
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(self._serve(listeners, once_ready))

    async def _serve(self, listeners: Sequence[socket.socket], once_ready: Callable[[], object]) -> None:
        loop, repository = asyncio.get_running_loop(), self._app.repository
        with self._signals(), contextlib.ExitStack() as stack:
            for listener in listeners:
                stack.callback(listener.close)
            async with self._app.lifespan():
                grpc_port = await self._companion.start() if self._companion is not None else None
                servers = [
                    await loop.create_server(lambda: SmallRequests(self._served), sock=listener, backlog=BACKLOG)
                    for listener in listeners
                ]
                self.started, told = True, False
                self._announce(grpc_port)
                while not self.should_exit and repository.failure is None:
                    if repository.ready and not told:
                        once_ready()
                        told = True
                    await asyncio.sleep(_LOOK)
                await taken_over(listeners)
                for server in servers:
                    server.close()
                for listener in listeners:
                    listener.close()
                await self._end()

    async def _end(self) -> None:
        await asyncio.sleep(_FIRST_WORD)
        self._app.repository.stopping = True
        await asyncio.sleep(_FAREWELL)
        if self._companion is not None:
            await self._companion.stop()
        connections, tasks = self._served.connections, self._served.tasks
        for connection in list(connections):
            connection.stop()
        deadline = time.monotonic() + self._app.settings.grace
        while (connections or tasks) and time.monotonic() < deadline and not self._at_once:
            await asyncio.sleep(_LOOK / 2)
        for task in list(tasks):
            task.cancel()
        for connection in list(connections):
            connection.abort()
        # What was cancelled ends before its event loop.
        await asyncio.sleep(0)

    def _exit(self, number: int, _: object) -> None:
        # Ctrl-C once more: whoever is at the terminal does not want to wait.
        self._at_once = self.should_exit and number == signal.SIGINT
        self.should_exit = True

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._exit) for number in _SIGNALS}
        before |= {number: signal.signal(number, signal.SIG_IGN) for number in _IGNORED}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


async def taken_over(listeners: Sequence[socket.socket]) -> None:
    """Returns when no connection waits in the kernel: those that do would be reset when the port is closed."""
    deadline = time.monotonic() + _ACCEPTED
    while time.monotonic() < deadline and select.select(listeners, [], [], 0)[0]:
        await asyncio.sleep(0.001)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Returns what makes the faster event loop, where there is one."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
