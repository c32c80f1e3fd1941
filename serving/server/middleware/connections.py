"""A limit on open connections.

When there are too many, one is closed: of the address that has most, the oldest without a request in progress.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Protocol


class Connection(Protocol):
    """What is known of a connection here."""

    @property
    def idle(self) -> bool:
        """Whether no request is worked on."""
        ...

    def abort(self) -> None:
        """Ends it at once, whatever is unsent."""
        ...


class Connections:
    """At most ``most`` at a time."""

    def __init__(self, most: int) -> None:
        self._most, self._count = most, 0
        self._by_address: defaultdict[str, dict[Connection, None]] = defaultdict(dict)

    def add(self, address: str, connection: Connection) -> None:
        """Takes a connection in; if it is one too many, another one is ended, or itself if all others are at work."""
        self._by_address[address][connection] = None
        self._count += 1
        if self._count > self._most:
            largest = max(self._by_address.values(), key=len)
            (next((other for other in largest if other.idle), connection)).abort()

    def remove(self, address: str, connection: Connection) -> None:
        """Forgets one that has ended."""
        if self._by_address[address].pop(connection, connection) is None:
            self._count -= 1
        if not self._by_address[address]:
            del self._by_address[address]
