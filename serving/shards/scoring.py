"""Gathering statistics in shards, to the bits of one process."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from igan_zoo.errors import ChecksumError, ScoringError, ShardError
from igan_zoo.images.stored import ImageSource
from igan_zoo.machine.progress import Progress
from igan_zoo.serving.engine import Device
from igan_zoo.serving.model_source import ModelSource
from igan_zoo.serving.scoring.gathering import Manner
from igan_zoo.serving.scoring.network import Network
from igan_zoo.serving.scoring.statistics import Facts, Statistics, merge
from igan_zoo.serving.scoring.statistics_cache import versions
from igan_zoo.serving.scoring.statistics_file import load_statistics, save_statistics
from igan_zoo.serving.shards.assembling import assembled
from igan_zoo.serving.shards.jobs import DrawnSource, ScoreJob, StoredSource, score_shards
from igan_zoo.serving.shards.performing import STATISTICS
from igan_zoo.serving.shards.ranks import OtherRankMergesError
from igan_zoo.serving.shards.task import Executor
from igan_zoo.serving.shards.work_folder import WorkFolder

# So many shards are in memory while they are added up.
_AT_ONCE = 8


@dataclass(frozen=True)
class ShardedGathering:
    """Gathers statistics by an executor, in the place of ``gather_statistics``.

    ``reference`` and ``split`` are those of the source, by which workers open it again; a model that draws its images
    is given to them.
    """

    executor: Executor
    reference: str
    split: str | None = None
    device: Device = "cpu"
    shard_size: int | None = None
    replace: bool = False

    def __call__(
        self,
        source: ImageSource,
        network: Network,
        facts: Facts,
        *,
        shard: tuple[int, int] | None = None,
        manner: Manner | None = None,
    ) -> Statistics:
        """Returns the statistics of all images of a source, as ``gather_statistics`` does, to the last bit.

        Finished shards lie beside the file that the statistics are to become, so that the same call goes on after a
        kill, with any executor.

        Raises:
            ShardError: nothing is to be kept, so that there is no such place; or as ``sample_in_shards``.
            OtherRankMergesError: this is a rank and not the last one.
            ImageError, DataError, ScoringError: as ``gather_statistics``.
        """
        manner = manner or Manner()
        if manner.partial is None:
            raise ShardError(
                "Shards are stored next to the statistics that are kept: name these with --save-statistics, or leave "
                "--no-cache out."
            )
        if shard is not None:
            raise ShardError("--executor divides the work itself; remove --shard.")
        content = _content(network)
        wanted, generators = self._described(source)
        job = ScoreJob(
            facts=facts,
            shards=score_shards(facts.images, self.shard_size),
            shape=network.shape,
            source=wanted,
            device=self.device,
            batch_size=manner.batch_size,
            strict=manner.strict,
            versions=versions(),
        )
        path = manner.partial.with_suffix(".shards")
        folder = WorkFolder.create(path, job, replace=self.replace)
        out = path.with_suffix("").with_suffix("")  # X, of whose partial X.KEY.partial the shards take the place
        title = f"scoring {source.reference}"
        with assembled(folder, [content, *generators], self.executor, out, STATISTICS, title) as files:
            if files is None:
                raise OtherRankMergesError
            statistics = _merged(files, job, title)
            save_statistics(statistics, out)
        return statistics

    def _described(self, source: ImageSource) -> tuple[StoredSource | DrawnSource, list[bytes]]:
        """Returns what workers open, and the graphs that it takes."""
        if isinstance(source, ModelSource):
            graph = source.model.graph("generator")
            sha256 = hashlib.sha256(graph).hexdigest()
            return DrawnSource(source.model.name, sha256, source.distribution, source.count, source.seed), [graph]
        path = Path(self.reference)
        reference = str(path.absolute()) if path.exists() else self.reference
        return StoredSource(reference, self.split, len(source)), []


def _merged(files: Iterator[Path], job: ScoreJob, title: str) -> Statistics:
    """Adds shards up as they come, a few at a time; the sums are exact, so any grouping gives the same bits."""
    parts: list[Statistics] = []
    with Progress(title, job.total, unit="images") as progress:
        for number, file in enumerate(files):
            parts.append(load_statistics(file))
            progress.advance(len(job.images(number)))
            if len(parts) == _AT_ONCE:
                parts = [merge(parts, partial=True)]
    return merge(parts)


def _content(network: Network) -> bytes:
    if network.content is None:
        raise ScoringError(f"The network {network.name} does not come from a file that workers could load.")
    content = network.content()
    if hashlib.sha256(content).hexdigest() != network.sha256:
        raise ChecksumError(f"The file of {network.name} changed during the run; run the command again.")
    return content
