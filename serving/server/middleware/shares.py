"""What requests share, so that no stranger takes all of it: slots, slow uploads, bytes in memory, room on the disk."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
from collections import Counter
from collections.abc import AsyncIterator
from weakref import WeakValueDictionary

from igan_zoo.counts import counted
from igan_zoo.serving.server.errors import QueueFullError, StorageError
from igan_zoo.serving.server.rules import Body

# Of all slots, one in so many is kept for requests that bring and compute little, and as many are for streams at most.
_KEPT, _STREAMS = 8, 16
# Bytes of a request that are not counted: as many small requests as there are slots fit anywhere.
UNCOUNTED = 64 * 1024


@functools.lru_cache(maxsize=4096)
def neighborhood(address: str) -> str:
    """Returns what counts as one address: an IPv4 address, or the 64 bits of IPv6 that one customer has at least."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(parsed.ipv4_mapped or ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))


class Share:
    """At most ``most`` at a time, and at most ``each`` of one address; 0 is no limit for an address."""

    def __init__(self, most: int, each: int, what: str) -> None:
        self._most, self._each, self._what = most, each, what
        self._now = 0
        self._by_address: Counter[str] = Counter()

    def take(self, address: str, count: int = 1) -> None:
        """Takes some for an address.

        Raises:
            QueueFullError: there are not so many left, or not for this address.
        """
        if self._now + count > self._most or (self._each and self._by_address[address] + count > self._each):
            raise QueueFullError(f"The server already has as many {self._what} as it allows; try again in a second.")
        self._now += count
        self._by_address[address] += count

    def give(self, address: str, count: int = 1) -> None:
        """Gives them back."""
        self._now -= count
        self._by_address[address] -= count
        if self._by_address[address] <= 0:
            del self._by_address[address]


class Slots:
    """Requests at a time: some are kept for those that are answered at once, and few are for streams."""

    def __init__(self, concurrency: int, each: int) -> None:
        self._most, self._for_work = concurrency, concurrency - concurrency // _KEPT
        self._now = 0
        small, large = max(1, concurrency // 4), max(1, self._for_work * 3 // 4)
        streams = max(1, concurrency // _STREAMS)
        # Answers that take time to be read hold a slot as bodies do that take time to be sent.
        self.departing = Share(large, each, "large answers in transit")
        # Counted separately: slow uploads must not keep anybody from sending short requests.
        self.arriving = {
            Body.SMALL: Share(small, min(each, max(1, small // 2)), "requests in transit"),
            Body.LARGE: Share(large, each, "bodies in transit"),
            Body.STREAMED: Share(streams, min(each, max(1, streams // 4)), "streams"),
        }

    def take(self, *, works: bool) -> None:
        """Counts a request in; ``works`` says that it computes.

        Raises:
            QueueFullError: the server works on as many as it may.
        """
        if self._now >= (self._for_work if works else self._most):
            raise QueueFullError(
                f"The server is already handling {counted(self._now, 'request')}; try again in a second."
            )
        self._now += 1

    def give(self) -> None:
        """Counts it out."""
        self._now -= 1


class Turns:
    """At most ``most`` at a time, half of them of one address; later ones wait for their turn."""

    def __init__(self, most: int) -> None:
        self._all, self._each = asyncio.Semaphore(most), most // 2
        self._by_address: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @contextlib.asynccontextmanager
    async def taken(self, address: str) -> AsyncIterator[None]:
        """Waits for a turn and keeps it."""
        own = self._by_address.setdefault(address, asyncio.Semaphore(self._each))
        async with own, self._all:
            yield


class Held:
    """The bytes that one request holds in memory; the first few are not counted."""

    def __init__(self, memory: Share, address: str) -> None:
        self._memory, self._address = memory, address
        self._bytes = self._counted = 0

    def take(self, count: int) -> None:
        """Counts more bytes.

        Raises:
            QueueFullError: all requests together hold as many as they may, or those of this address do.
        """
        self._bytes += count
        more = max(0, self._bytes - UNCOUNTED) - self._counted
        if more > 0:
            self._memory.take(self._address, more)
            self._counted += more

    def release(self) -> None:
        """Gives all of them back."""
        if self._counted:
            self._memory.give(self._address, self._counted)
        self._bytes = self._counted = 0


class Room:
    """Bytes that requests may keep in temporary files, all together."""

    def __init__(self, most: int) -> None:
        self._most, self._now = most, 0

    def take(self, count: int) -> None:
        """Takes some.

        Raises:
            StorageError: there are not so many left.
        """
        if self._now + count > self._most:
            raise StorageError("The server has no room for more archives; send a tar archive, which needs none.")
        self._now += count

    def give(self, count: int) -> None:
        """Gives them back."""
        self._now -= count
