"""What engines cost beside one plain loop: the same images to the same file, by one worker of each engine.

Rounds alternate, and each has its own ratio. CPU time is that of this process and all below it. Clusters are started
before and the time of that is given by itself; what is measured has the job's preparation, the workers' own start, the
shards' files, their sums and the assembling in it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from igan_zoo.models import store
from igan_zoo.serving.model import load_model
from igan_zoo.serving.sample_writers import write_samples
from igan_zoo.serving.shards.dask_cluster import DaskCluster
from igan_zoo.serving.shards.processes import Processes
from igan_zoo.serving.shards.ranks import Ranks
from igan_zoo.serving.shards.ray_cluster import RayCluster
from igan_zoo.serving.shards.sampling import sample_in_shards
from igan_zoo.serving.shards.task import Executor

BATCH = 256


def family(process: int) -> Iterator[int]:
    """Yields a process and all below it."""
    yield process
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:
            continue
        for child in children:
            yield from family(int(child))


def cpu_seconds() -> float:
    """Returns the CPU time of this process and all below it, ended or not."""
    ticks = 0
    for process in family(os.getpid()):
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def measured(work: Callable[[], object]) -> tuple[float, float]:
    """Returns wall and CPU seconds of some work."""
    began, used = time.perf_counter(), cpu_seconds()
    work()
    return time.perf_counter() - began, cpu_seconds() - used


def start_dask(stack: ExitStack) -> Executor:
    import distributed

    quiet: dict[str, Any] = {"dashboard_address": ":0", "scheduler_kwargs": {"dashboard": False}}
    cluster = distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=True, **quiet)
    stack.enter_context(cluster)
    return DaskCluster(cluster.scheduler_address.removeprefix("tcp://"), 1)


def start_ray(stack: ExitStack) -> Executor:
    import ray

    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="error")
    stack.callback(ray.shutdown)
    return RayCluster(None, 1)


STARTS: dict[str, Callable[[ExitStack], Executor]] = {
    "ranks": lambda _: Ranks(0, 1),
    "processes": lambda _: Processes(1),
    "dask": start_dask,
    "ray": start_ray,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--n", type=int, default=65_536)
    parser.add_argument("--shard-size", type=int, default=4096)
    parser.add_argument("--suffix", default=".npz")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--executor", dest="executors", action="append", choices=list(STARTS), help="[default: all]")
    options = parser.parse_args()

    model = store.resolve(options.model)
    loaded = load_model(model, ["generator"], threads=1)
    shape = loaded.engine.graphs["generator"].output_shape
    which: dict[str, Any] = {"seed": 0, "start": 0, "count": options.n}

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))

        def plainly() -> None:
            batches = loaded.sample_batches(**which, batch_size=BATCH)
            write_samples(folder / f"one{options.suffix}", batches, image_shape=shape, **which, replace=True)

        def shared(executor: Executor) -> None:
            out = folder / f"many{options.suffix}"
            how: dict[str, Any] = {"batch_size": BATCH, "shard_size": options.shard_size, "replace": True}
            sample_in_shards(executor, loaded, out, **which, **how)
            if isinstance(executor, Ranks):
                out.unlink()

        print(f"{model.name}, {options.n:,} images to {options.suffix}, shards of {options.shard_size:,}")
        for name in options.executors or STARTS:
            with ExitStack() as cluster:
                began = time.perf_counter()
                executor = STARTS[name](cluster)
                starting = time.perf_counter() - began
                rounds = [(measured(plainly), measured(partial(shared, executor))) for _ in range(options.rounds)]
            walls = [other[0] / plain[0] for plain, other in rounds]
            loads = [other[1] / plain[1] for plain, other in rounds]
            print(
                f"{name}: {median(loads):.2f} times the CPU time ({min(loads):.2f} to {max(loads):.2f}), "
                f"{median(walls):.2f} times the wall time of the loop, which does "
                f"{options.n / median(plain[0] for plain, _ in rounds):,.0f} images/s, "
                f"{options.n / median(plain[1] for plain, _ in rounds):,.0f} per second of CPU time; "
                f"{starting:.1f} s to start the cluster",
                flush=True,
            )


if __name__ == "__main__":
    main()
