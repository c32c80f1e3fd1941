"""What a server has in its hands, and whose turn it is where parsing takes long."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from igan_zoo.serving.server.app import App

if TYPE_CHECKING:
    from igan_zoo.serving.server.http1.connection import Connection


class InProgress(Protocol):
    """A request that is worked on."""

    keep_alive: bool
    started: bool
    complete: bool
    ended: bool

    def disconnect(self) -> None:
        """Is called when the client is gone."""
        ...


@dataclass(eq=False)
class Served:
    """What a server has in its hands: open connections, and the tasks of their requests."""

    app: App
    connections: set[Connection] = field(default_factory=set)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    # Connections of which something is left to be parsed.
    waiting: deque[Connection] = field(default_factory=deque)

    def wait_for_turn(self, connection: Connection) -> None:
        """Lets a connection parse on, after those that wait already."""
        self.waiting.append(connection)
        if len(self.waiting) == 1:
            connection.loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        connection = self.waiting.popleft()
        if self.waiting:
            connection.loop.call_soon(self._next_turn)
        connection.parse_on()
