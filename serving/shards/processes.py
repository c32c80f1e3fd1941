"""Shards in processes of this machine; the ones to be started import nothing before their threads are limited."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TYPE_CHECKING

from igan_zoo.errors import ShardError
from igan_zoo.serving.shards.task import RETRIES, Task, lost_too_often

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from igan_zoo.serving.shards.work_folder import Done

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# So many shards a process wait in the pool, for when whoever takes the finished ones is busy with them.
_AHEAD = 2


@dataclass(frozen=True)
class Processes:
    """Spawned processes, ``workers`` at a time."""

    workers: int

    def run(self, task: Task, numbers: Sequence[int]) -> Generator[Done]:
        """As ``Executor``."""
        waiting, losses = deque(numbers), Counter[int]()
        while waiting:
            lost = yield from self._until_lost(task, waiting)
            # The pool does not say whose process it was.
            losses.update(lost)
            for number in lost:
                if losses[number] > RETRIES:
                    raise ShardError(lost_too_often(number, "a process was killed or crashed"))
            waiting.extendleft(reversed(lost))

    def _until_lost(self, task: Task, waiting: deque[int]) -> Generator[Done, None, list[int]]:
        """Takes shards from ``waiting`` and yields them done; returns those that were running when one was lost."""
        spawn = multiprocessing.get_context("spawn")
        reader, writer = spawn.Pipe(duplex=False)
        running: dict[Future[Done], int] = {}
        pool = ProcessPoolExecutor(min(self.workers, len(waiting)), spawn, _begin, (reader,))
        try:
            while waiting or running:
                while waiting and len(running) < _AHEAD * self.workers:
                    # A pool that has just broken refuses the shard, which then still waits.
                    running[pool.submit(task, waiting[0])] = waiting[0]
                    waiting.popleft()
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    done = future.result()
                    del running[future]
                    yield done
        except BrokenProcessPool:
            return list(running.values())
        finally:
            # Whoever still works is no longer wanted.
            writer.close()
            pool.shutdown(cancel_futures=True)
            reader.close()
        return []


def _begin(reader: Connection) -> None:
    """Prepares a process: one thread a library, no part in Ctrl-C, and an end with the process that started it."""
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(reader,), daemon=True).start()


def _end_with(reader: Connection) -> None:
    # The other end is closed by that process or, if it is killed, by the system.
    try:
        reader.recv_bytes()
    except (EOFError, OSError):
        os._exit(1)
