"""Work in threads for generators, which may be left at any time and by any thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

from igan_zoo.machine.cores import cores

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def thread_pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """A pool whose block, inside a generator, waits for the threads at its end but not when it is left early.

    The garbage collector closes generators that were left, in whichever thread it happens to run: in a worker, which
    cannot wait for itself, or in a thread that is just starting and holds the very lock that every end of a thread
    needs. A pool that nobody refers to any more ends its threads by itself, without a lock. Who leaves early cancels
    what has not begun.
    """
    pool = ThreadPoolExecutor(threads)
    yield pool
    pool.shutdown()


def map_ahead(function: Callable[[Item], Result], items: Iterable[Item], *, at_once: int) -> Generator[Result]:
    """Yields ``function(item)`` for every item in order, computed on all cores while the caller uses those before.

    ``at_once`` items are one piece of work. Items are taken in the caller's thread, a few pieces ahead.
    """
    threads = cores()
    remaining = iter(items)
    pieces = iter(lambda: list(islice(remaining, at_once)), [])
    waiting: deque[Future[list[Result]]] = deque()
    with thread_pool(threads) as pool:
        try:
            for piece in pieces:
                waiting.append(pool.submit(lambda some: [function(item) for item in some], piece))
                if len(waiting) > 2 * threads:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
