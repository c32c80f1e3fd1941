"""Work in threads for generators, which may be left at any time and by any thread."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


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
