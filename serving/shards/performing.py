"""What every worker of every engine does: one shard, from the shared folder to its file there."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from igan_zoo.counts import counted
from igan_zoo.errors import DataError, ShardError
from igan_zoo.images.sources import open_source
from igan_zoo.images.stored import ImageSource
from igan_zoo.models import store
from igan_zoo.serving.engine import Engine
from igan_zoo.serving.model_source import ModelSource
from igan_zoo.serving.sampling import sample
from igan_zoo.serving.scoring.gathering import Manner, gather_statistics
from igan_zoo.serving.scoring.network import Network
from igan_zoo.serving.scoring.statistics_cache import versions
from igan_zoo.serving.scoring.statistics_file import save_statistics
from igan_zoo.serving.shards.jobs import DrawnSource, SampleJob, ScoreJob
from igan_zoo.serving.shards.sample_files import SAMPLES, write_files, write_pixels
from igan_zoo.serving.shards.work_folder import Done, WorkFolder

STATISTICS = ".safetensors"


@dataclass(frozen=True)
class Perform:
    """Does shards of the job in ``folder``: small enough to be sent to any worker, as text."""

    folder: str
    job_sha256: str

    def __call__(self, number: int) -> Done:
        """Does shard ``number`` unless its record is there, and returns the record.

        Raises:
            ShardError: the folder is not there or has another job, or this worker has other packages.
            IganZooError: as sampling or scoring does.
        """
        folder = WorkFolder.open(Path(self.folder), self.job_sha256)
        return folder.recorded(number) or _worker(self.folder, self.job_sha256)(number)


@functools.lru_cache(maxsize=1)
def _worker(path: str, job_sha256: str) -> Callable[[int], Done]:
    """Loads the models of a job, once for all shards that come."""
    folder = WorkFolder.open(Path(path), job_sha256)
    job = folder.job
    for package, version in versions().items():
        wanted = job.versions.get(package)
        if wanted != version:
            raise ShardError(
                f"A worker has {package} {version}, but the job was started with {wanted or 'none'}, so results could "
                "differ: install the same on all machines."
            )
    return _sampler(folder, job) if isinstance(job, SampleJob) else _scorer(folder, job)


def _sampler(folder: WorkFolder, job: SampleJob) -> Callable[[int], Done]:
    batched = {} if job.batched is None else {"generator": folder.graph(job.batched)}
    graphs = {"generator": folder.graph(job.generator)}
    engine = Engine(graphs, device=job.device, threads=1, batched=batched)
    write = write_files if job.encoded else write_pixels

    def perform(number: int) -> Done:
        numbers, file = job.images(number), folder.shard(number, SAMPLES)
        which = {"seed": job.seed, "start": numbers.start, "count": len(numbers)}
        # Whole batches of the undivided work, so that a shard has its bits.
        write(file, sample(engine, job.distribution, **which, batch_size=job.batch_size), len(numbers))
        return folder.record(number, len(numbers), file)

    return perform


def _scorer(folder: WorkFolder, job: ScoreJob) -> Callable[[int], Done]:
    facts, role = job.facts, "scorer" if job.shape is None else "classifier"
    engine = Engine({role: folder.graph(facts.scorer_sha256)}, device=job.device, threads=1)
    network = Network(facts.scorer, facts.scorer_sha256, engine, shape=job.shape)
    source = _source(folder, job)

    def perform(number: int) -> Done:
        file = folder.shard(number, STATISTICS)
        partial = file.with_suffix(".partial")
        manner = Manner(batch_size=job.batch_size, threads=1, strict=job.strict, partial=partial, shown=False)
        statistics = gather_statistics(source, network, facts, shard=(number + 1, job.shards), manner=manner)
        save_statistics(statistics, file)
        partial.unlink(missing_ok=True)
        return folder.record(number, len(job.images(number)), file)

    return perform


def _source(folder: WorkFolder, job: ScoreJob) -> ImageSource:
    wanted = job.source
    if isinstance(wanted, DrawnSource):
        engine = Engine({"generator": folder.graph(wanted.generator)}, device=job.device, threads=1)
        model = store.Model(wanted.name, folder.graph_path(wanted.generator), None)
        return ModelSource(model, engine, wanted.distribution, count=wanted.count, seed=wanted.seed)
    source = open_source(wanted.reference, split=wanted.split)
    if len(source) != wanted.images:
        raise DataError(
            f"A worker finds {counted(len(source), 'image')} at {wanted.reference}, not {wanted.images:,}: give all "
            "machines the same ones."
        )
    return source
