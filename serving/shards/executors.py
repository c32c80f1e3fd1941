"""What does the shards: one protocol, and the ones that ``--executor`` names."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Generator, Sequence
from typing import Protocol

from igan_zoo.errors import MissingExtraError, UnknownNameError
from igan_zoo.machine.cores import cores
from igan_zoo.serving.shards.work_folder import Done

# How often a shard whose worker was lost is begun again: a shard that kills its workers must come to an end.
RETRIES = 3

# By engine, the package of the extra of that name.
_LIBRARIES = {"dask": "distributed", "ray": "ray"}

Task = Callable[[int], Done]


class Executor(Protocol):
    """Runs a task, which must travel by pickle to workers of one thread each, on the shards of these numbers."""

    def run(self, task: Task, numbers: Sequence[int]) -> Generator[Done]:
        """Yields every shard when it is done, in any order; one whose worker was lost is done again.

        Raises:
            ShardError: there are no workers, or a shard lost ``RETRIES`` of them and another one.
            IganZooError: what the task raised.
        """
        ...


def find_executor(name: str, workers: int | None = None) -> Executor:
    """Returns the executor of a name: ``processes``, ``dask[://HOST:PORT]``, ``ray[://HOST:PORT]`` or ``ranks``.

    ``workers`` is how many are started, and None means one for each core; of a running Ray, how many of its cores are
    taken. A running Dask has its own.

    Raises:
        UnknownNameError: there is no such executor.
        MissingExtraError: it is not installed.
    """
    kind, _, address = name.partition("://")
    if kind in _LIBRARIES and importlib.util.find_spec(_LIBRARIES[kind]) is None:
        raise MissingExtraError(f"--executor {kind} needs the {kind} extra: pip install 'igan-zoo[{kind}]'.")
    if name == "ranks":
        from igan_zoo.serving.shards.ranks import find_rank

        return find_rank()
    if name == "processes":
        from igan_zoo.serving.shards.processes import Processes

        return Processes(workers or cores())
    if kind == "dask":
        from igan_zoo.serving.shards.dask_cluster import DaskCluster

        return DaskCluster(address or None, workers or cores())
    if kind == "ray":
        from igan_zoo.serving.shards.ray_cluster import RayCluster

        return RayCluster(name if address else None, workers)
    raise UnknownNameError(
        f"There is no executor {name!r}: give processes, dask, dask://HOST:PORT, ray, ray://HOST:PORT or ranks."
    )


def lost_too_often(number: int | None, reason: str) -> str:
    """Returns the sentence for a shard, of that number where it is known, that has lost too many workers."""
    which = "A shard" if number is None else f"Shard {number}"
    return (
        f"{which} lost its worker {RETRIES + 1} times ({reason}), so it may need more memory than there is: run the "
        "same command again with fewer --workers, and it goes on from the shards that are done."
    )
