"""Shards on Dask's workers: those of a scheduler, or processes of this machine."""

from __future__ import annotations

import queue
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from igan_zoo.errors import ShardError, first_line
from igan_zoo.serving.shards.task import RETRIES, Task, lost_too_often

if TYPE_CHECKING:
    from distributed import Client

    from igan_zoo.serving.shards.work_folder import Done

_SECONDS_TO_CONNECT = 10
# A worker that was lost is started again in less.
_SECONDS_WITHOUT_WORKERS = 60.0


@dataclass(frozen=True)
class DaskCluster:
    """The workers of the scheduler at ``address``, HOST:PORT; None starts ``workers`` processes for the time."""

    address: str | None
    workers: int

    def run(self, task: Task, numbers: Sequence[int]) -> Generator[Done]:
        """As ``Executor``; Dask itself gives the shards of a lost worker to others."""
        import dask
        import distributed

        if not numbers:
            return
        with ExitStack() as stack:
            stack.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": RETRIES}))
            client = self._client(stack)
            futures = {client.submit(task, number, pure=False, priority=-number): number for number in numbers}
            finished = queue.SimpleQueue[distributed.Future]()
            for future in futures:
                future.add_done_callback(finished.put)
            while futures:
                future = _patiently(client, finished.get)
                number = futures.pop(future)
                try:
                    yield _patiently(client, future.result)
                except distributed.KilledWorker as error:
                    raise ShardError(lost_too_often(number, "Dask's workers died")) from error

    def _client(self, stack: ExitStack) -> Client:
        import distributed

        if self.address is None:
            # Without an address Dask warns where the dashboard's usual port, which it does not use, is taken.
            quiet = {"dashboard_address": ":0", "scheduler_kwargs": {"dashboard": False}}
            cluster = distributed.LocalCluster(n_workers=self.workers, threads_per_worker=1, processes=True, **quiet)
            return stack.enter_context(distributed.Client(stack.enter_context(cluster)))
        address = f"tcp://{self.address}"
        try:
            client = stack.enter_context(distributed.Client(address, timeout=_SECONDS_TO_CONNECT))
        except (OSError, ValueError) as error:
            raise ShardError(
                f"No Dask scheduler answers at {address}: start one with dask scheduler, or remove the address. "
                f"{first_line(error)}"
            ) from error
        if not client.scheduler_info()["workers"]:
            raise ShardError(f"The Dask scheduler at {address} has no workers: start some with dask worker {address}.")
        return client


def _patiently(client: Client, wait: Callable[..., Any]) -> Any:
    """Returns what ``wait`` gives, however long it takes, as long as there are workers."""
    while True:
        try:
            return wait(timeout=_SECONDS_WITHOUT_WORKERS)
        except (TimeoutError, queue.Empty):
            if not client.scheduler_info()["workers"]:
                raise ShardError(
                    "All workers of Dask were lost: start some, and run the same command again; it continues from the "
                    "shards that are done."
                ) from None
