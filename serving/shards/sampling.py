"""Drawing images in shards, into the file that one process writes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from igan_zoo.counts import counted
from igan_zoo.errors import ShardError
from igan_zoo.serving.model import LoadedModel
from igan_zoo.serving.sample_writers import check_output, holds_png, write_samples
from igan_zoo.serving.scoring.statistics_cache import versions
from igan_zoo.serving.shards.assembling import assembled
from igan_zoo.serving.shards.jobs import SampleJob, sample_shard_size
from igan_zoo.serving.shards.sample_files import SAMPLES, read_files, read_pixels
from igan_zoo.serving.shards.task import Executor
from igan_zoo.serving.shards.work_folder import WorkFolder


def sample_in_shards(
    executor: Executor,
    loaded: LoadedModel,
    out: Path,
    *,
    seed: int,
    start: int,
    count: int,
    batch_size: int,
    shard_size: int | None = None,
    replace: bool = False,
) -> NDArray[np.uint8] | None:
    """Draws images and writes them as ``write_samples`` does: the same bytes, and the first hundred as the answer.

    Finished shards lie in ``OUT.shards`` until the result is written, so that the same call goes on after a kill, with
    any executor. A rank that is not the last one returns None.

    Raises:
        ShardError: ``shard_size`` is no multiple of ``batch_size``; another job's shards are in the way, or another
            process is at work on these; or workers were lost too often.
        OutputError: as ``write_samples``.
        ChecksumError, InterfaceError, DeviceError, MissingExtraError: as ``load_engine`` and ``Executor.run``.
    """
    size = shard_size or sample_shard_size(count, batch_size)
    if size % batch_size:
        raise ShardError(
            f"A shard of {counted(size, 'image')} does not hold whole batches of {batch_size}, on which the last "
            f"bits depend: take --shard-size {-(-size // batch_size) * batch_size}, or another --batch-size."
        )
    plain = loaded.model.graph("generator", loaded.variant)
    cpus_own = loaded.device == "cpu" and loaded.variant is None
    batched = loaded.model.graph_for_cpus("generator") if cpus_own else None
    job = SampleJob(
        generator=_sum(plain),
        batched=None if batched is None else _sum(batched),
        distribution=loaded.latents.distribution,
        device=loaded.device,
        seed=seed,
        start=start,
        count=count,
        batch_size=batch_size,
        shard_size=size,
        encoded=holds_png(out),
        versions=versions(),
    )
    folder = WorkFolder.create(out.with_name(f"{out.name}.shards"), job, replace=replace)
    if not folder.merged:
        check_output(out, replace=replace)
    graphs = [plain] if batched is None else [plain, batched]
    shape = loaded.engine.graphs["generator"].output_shape
    with assembled(folder, graphs, executor, out, SAMPLES, "sampling") as files:
        if files is None:
            return None
        batches = (read_files(file) if job.encoded else read_pixels(file) for file in files)
        return write_samples(out, batches, image_shape=shape, seed=seed, start=start, count=count, replace=replace)


def _sum(graph: bytes) -> str:
    return hashlib.sha256(graph).hexdigest()
