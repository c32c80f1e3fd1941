"""The executors that ``--executor`` names."""

from __future__ import annotations

import importlib.util

from igan_zoo.errors import MissingExtraError, UnknownNameError, pip_install
from igan_zoo.machine.cores import cores
from igan_zoo.serving.shards.task import Executor

# By engine, the package of the extra of that name.
_LIBRARIES = {"dask": "distributed", "ray": "ray"}


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
        raise MissingExtraError(f"--executor {kind} needs the {kind} extra: {pip_install(kind)}.")
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
