"""Shards in Ray's actors: those of a running cluster, or of a Ray that is started on this machine for the time."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from igan_zoo.errors import ShardError, first_line
from igan_zoo.serving.shards.task import RETRIES, Task, lost_too_often

if TYPE_CHECKING:
    from igan_zoo.serving.shards.work_folder import Done


class _Worker:
    """Keeps the models of a job from one shard to the next."""

    def perform(self, task: Task, number: int) -> Done:
        return task(number)


@dataclass(frozen=True)
class RayCluster:
    """``workers`` actors of one core each in the cluster at ``address``, ray://HOST:PORT.

    None means the cluster that ``RAY_ADDRESS`` or this machine has, and else one that is started for the time. Without
    ``workers`` there is an actor for every core.
    """

    address: str | None
    workers: int | None

    def run(self, task: Task, numbers: Sequence[int]) -> Generator[Done]:
        """As ``Executor``; Ray starts a lost actor, and its shard, again."""
        import ray
        from ray.util import ActorPool

        if not numbers:
            return
        started = self._connect()
        try:
            workers = min(self.workers or int(ray.cluster_resources().get("CPU", 1)), len(numbers))
            # An actor may be lost as often as there are shards; each of them only so often.
            options: Any = {"num_cpus": 1, "max_restarts": -1, "max_task_retries": RETRIES}
            actors = [ray.remote(_Worker).options(**options).remote() for _ in range(workers)]
            # Each twice, so that a shard waits with it while whoever takes the finished ones is busy with them.
            pool = ActorPool(actors * 2)
            yield from pool.map_unordered(lambda actor, number: actor.perform.remote(task, number), numbers)
        except ray.exceptions.RayTaskError as error:
            raise error.cause or error from error
        except ray.exceptions.RayActorError as error:
            raise ShardError(lost_too_often(None, first_line(error))) from error
        finally:
            if started:
                ray.shutdown()

    def _connect(self) -> bool:
        """Connects to a cluster, or starts one; returns whether the connection is ours to end."""
        import ray

        if ray.is_initialized():
            return False
        quiet: Any = {"log_to_driver": False, "logging_level": "error"}
        address = self.address or os.environ.get("RAY_ADDRESS")
        try:
            try:
                ray.init(address or "auto", **quiet)
            except ConnectionError:
                if address is not None:
                    raise
                ray.init("local", num_cpus=self.workers, include_dashboard=False, **quiet)
        except Exception as error:  # Ray raises no narrower one where it does not start
            raise ShardError(
                f"Ray cannot be used at {address or 'this machine'}: start one with ray start --head, or leave "
                f"the address out. {first_line(error)}"
            ) from error
        return True
