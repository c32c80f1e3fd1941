"""Dynamic batching: requests that wait for the same graph are run together.

A batcher belongs to one event loop; its batches run in a pool of threads, one at a time per batcher. While one runs,
the next fills. An idle batcher waits for as many rows as the last batch had, but at most ``max_wait``: under load,
batches fill up, and a single client never waits. A batch that takes less time than the hand-off to a thread runs in the
event loop itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from igan_zoo.counts import counted
from igan_zoo.serving.server.errors import DeadlineError, QueueFullError

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class BatchLimits:
    """At most ``max_batch`` rows together, ``max_wait`` seconds for others, ``queue`` requests that wait.

    A request that has waited ``deadline`` seconds is dropped. Batches that, judging by recent ones, take less than
    ``at_once`` seconds of CPU time run in the event loop.
    """

    max_batch: int
    max_wait: float
    queue: int
    deadline: float
    at_once: float = 0.0


# The outputs of a request: arrays, or the bytes of those that it names, one after another.
Outputs = Arrays | bytes
Done = Callable[[Any], None]


@dataclass(slots=True, eq=False)
class Waiting:
    """A request in the queue. Only requests of one ``key`` share a batch.

    ``done`` is called with an exception, with arrays, or with the bytes of the outputs in ``packed`` if it names some.
    """

    inputs: Arrays
    count: int
    key: Hashable
    done: Done
    arrived: float
    expires: float
    packed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ran:
    """What a batch took: its rows and requests, seconds that these waited in all, seconds that the run took."""

    rows: int
    requests: int
    waited: float
    seconds: float


class DynamicBatcher:
    """Runs arrays through ``run``, ``{input: [N, …]} -> {output: [N, …]}``, several requests at a time.

    ``observe`` is called for every batch, in the event loop.
    """

    def __init__(
        self,
        run: Callable[[Arrays], Arrays],
        limits: BatchLimits,
        pool: ThreadPoolExecutor,
        observe: Callable[[Ran], None] = lambda _: None,
    ) -> None:
        self._run, self._limits, self._pool, self._observe = run, limits, pool, observe
        self._queue: deque[Waiting] = deque()
        self._rows = 0
        self._running = False
        self._last = 1
        # Seconds of the processor for a row, by the last batches; at first a batch takes for ever.
        self._row_seconds = math.inf
        self._starter: asyncio.TimerHandle | None = None
        self._due = False
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def depth(self) -> int:
        """How many requests wait."""
        return len(self._queue)

    async def run(self, inputs: Arrays, count: int, *, key: Hashable = (), deadline: float | None = None) -> Arrays:
        """Runs ``count`` rows, at least 1 and at most ``max_batch``, in a batch with others of the same ``key``.

        Raises:
            QueueFullError: too many requests wait already.
            DeadlineError: the batch did not start in time.
        """
        future: asyncio.Future[Arrays] = asyncio.get_running_loop().create_future()

        def done(result: Arrays | Exception) -> None:
            if future.done():
                return
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

        waiting = self.submit(inputs, count, done, key=key, deadline=deadline)
        try:
            return await future
        except asyncio.CancelledError:
            self.withdraw(waiting)
            raise

    def submit(
        self,
        inputs: Arrays,
        count: int,
        done: Done,
        *,
        key: Hashable = (),
        deadline: float | None = None,
        packed: tuple[str, ...] = (),
    ) -> Waiting:
        """Like :meth:`run`, but without waiting: ``done`` is called later, in the event loop.

        It gets the bytes of the outputs in ``packed``, one after another, or all as arrays if none is named.

        Raises:
            QueueFullError: too many requests wait already.
        """
        limits = self._limits
        if len(self._queue) >= limits.queue:
            raise QueueFullError(
                f"The queue of this model, of {counted(limits.queue, 'request')}, is full; try again in a second."
            )
        loop = asyncio.get_running_loop()
        now = time.monotonic()
        allowed = limits.deadline if deadline is None else min(deadline, limits.deadline)
        waiting = Waiting(inputs, count, key, done, now, now + allowed, packed)
        self._queue.append(waiting)
        self._rows += count
        if not self._running and not self._due:
            self._consider(loop)
        if self._queue and (self._sweeper is None or deadline is not None):
            self._watch(loop, waiting.expires)
        return waiting

    def withdraw(self, waiting: Waiting) -> bool:
        """Removes a request that nobody waits for any more; returns False and does nothing if it is running or done.

        Its ``done`` is not called then.
        """
        try:
            self._queue.remove(waiting)
        except ValueError:
            return False
        self._rows -= waiting.count
        return True

    def _consider(self, loop: asyncio.AbstractEventLoop) -> None:
        """Sees to it that a batch starts soon: in the next turn of the loop if it is full enough, with all that comes
        in this one.
        """
        if self._enough():
            self._due = True
            loop.call_soon(self._start_due, loop)
        elif self._starter is None:
            self._starter = loop.call_later(self._limits.max_wait, self._start, loop)

    def _enough(self) -> bool:
        """Returns whether as many rows wait as the last batch had, or as fit in one."""
        return self._rows >= min(self._last, self._limits.max_batch)

    def _is_short(self, rows: int) -> bool:
        """Returns whether a batch takes less time than the hand-off to a thread."""
        return rows * self._row_seconds < self._limits.at_once

    def _start_due(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = False
        if not self._running:
            self._start(loop)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._starter is not None:
            self._starter.cancel()
            self._starter = None
        batch, rows = self._take(time.monotonic())
        if not batch:
            return
        self._running = True
        if self._is_short(rows):
            self._finish(loop, batch, *self._ran(batch))
        else:
            self._pool.submit(self._work, loop, batch)

    def _take(self, now: float) -> tuple[list[Waiting], int]:
        """Removes the next batch from the queue: the first request and all others of its key that still fit."""
        taken: list[Waiting] = []
        passed: list[Waiting] = []
        rows = 0
        queue, largest = self._queue, self._limits.max_batch
        while queue and rows < largest:
            waiting = queue.popleft()
            if waiting.expires <= now:
                self._drop(waiting)
            elif not taken or (waiting.key == taken[0].key and rows + waiting.count <= largest):
                taken.append(waiting)
                rows += waiting.count
            else:
                passed.append(waiting)
        queue.extendleft(reversed(passed))
        self._rows -= rows
        return taken, rows

    def _work(self, loop: asyncio.AbstractEventLoop, batch: list[Waiting]) -> None:
        """Runs a batch; in a thread of the pool."""
        ran = self._ran(batch)
        # The loop is closed if the server was stopped by force; then nobody waits any more.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._finish, loop, batch, *ran)

    def _ran(self, batch: list[Waiting]) -> tuple[Sequence[Outputs | Exception], float, float, float]:
        """Returns the results of a batch, when it began and ended, and what it took of the processor."""
        began, processor = time.monotonic(), time.thread_time()
        results = run_together(self._run, batch)
        return results, began, time.monotonic(), time.thread_time() - processor

    def _finish(
        self,
        loop: asyncio.AbstractEventLoop,
        batch: list[Waiting],
        results: Sequence[Outputs | Exception],
        began: float,
        ended: float,
        processor: float,
    ) -> None:
        self._running = False
        rows = sum(waiting.count for waiting in batch)
        self._last = rows
        self._row_seconds = processor / rows
        # A long batch starts before the answers go out, so that its thread computes meanwhile.
        if self._enough() and not self._is_short(min(self._rows, self._limits.max_batch)):
            self._start(loop)
        for waiting, result in zip(batch, results, strict=True):
            waiting.done(result)
        if self._queue and not self._running and not self._due:
            self._consider(loop)
        self._observe(Ran(rows, len(batch), sum(began - waiting.arrived for waiting in batch), ended - began))

    def _watch(self, loop: asyncio.AbstractEventLoop, expires: float) -> None:
        """Ensures that a request is answered at its deadline, whatever is running."""
        at = loop.time() + expires - time.monotonic()
        if self._sweeper is not None:
            if self._sweeper.when() <= at:
                return
            self._sweeper.cancel()
        self._sweeper = loop.call_at(at, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._sweeper = None
        now = time.monotonic()
        for waiting in [waiting for waiting in self._queue if waiting.expires <= now]:
            self._queue.remove(waiting)
            self._drop(waiting)
        if self._queue:
            self._watch(loop, min(waiting.expires for waiting in self._queue))

    def _drop(self, waiting: Waiting) -> None:
        self._rows -= waiting.count
        seconds = waiting.expires - waiting.arrived
        waiting.done(
            DeadlineError(
                f"The request waited {counted(seconds, 'second')} for its turn and was dropped; try again later."
            )
        )


def run_together(run: Callable[[Arrays], Arrays], batch: Sequence[Waiting]) -> Sequence[Outputs | Exception]:
    """Runs several requests as one batch and returns the rows of each, or its error.

    If the batch fails, every request is run separately, so no request fails because of another.
    """
    first = batch[0]
    if len(batch) == 1:
        return [_attempt(run, first)]
    try:
        outputs = run({name: np.concatenate([waiting.inputs[name] for waiting in batch]) for name in first.inputs})
    except Exception:
        return [_attempt(run, waiting) for waiting in batch]
    if first.packed and all(waiting.count == 1 and waiting.packed == first.packed for waiting in batch):
        return _packed_rows(outputs, first.packed, len(batch))
    ends = list(itertools.accumulate(waiting.count for waiting in batch))
    return [_rows(outputs, end - waiting.count, end, waiting.packed) for waiting, end in zip(batch, ends, strict=True)]


def _attempt(run: Callable[[Arrays], Arrays], waiting: Waiting) -> Outputs | Exception:
    try:
        return _rows(run(waiting.inputs), 0, waiting.count, waiting.packed)
    except Exception as error:
        return error


def _rows(outputs: Arrays, start: int, end: int, packed: Sequence[str]) -> Outputs:
    """Returns some rows of a batch in the form that a request asks for."""
    if packed:
        return b"".join([outputs[name][start:end].tobytes() for name in packed])
    return {name: output[start:end] for name, output in outputs.items()}


def _packed_rows(outputs: Arrays, names: Sequence[str], count: int) -> list[bytes]:
    """Returns what ``_rows`` does for each row: all are copied once, together, rather than output by output."""
    parts = [np.ascontiguousarray(outputs[name]).reshape(count, -1).view(np.uint8) for name in names]
    together = np.concatenate(parts, axis=1)
    content, size = together.tobytes(), together.shape[1]
    return [content[start : start + size] for start in range(0, count * size, size)]
