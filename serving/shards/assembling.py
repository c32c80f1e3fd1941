"""Goes through the finished shards of a job in order, while an engine does those that are missing."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from igan_zoo.errors import ShardError
from igan_zoo.machine.progress import Progress
from igan_zoo.serving.shards.performing import Perform
from igan_zoo.serving.shards.ranks import Ranks
from igan_zoo.serving.shards.task import Executor
from igan_zoo.serving.shards.work_folder import WorkFolder


@contextmanager
def assembled(
    folder: WorkFolder, graphs: Iterable[bytes], executor: Executor, out: Path, suffix: str, title: str
) -> Iterator[Iterator[Path] | None]:
    """Yields the file of every shard in order, as soon as it is done; or None to a rank that is not the last.

    What the block makes of them is ``out``; when it succeeds, the shards are deleted.

    Raises:
        ShardError, IganZooError: as ``Executor.run``; or another process is at work here.
    """
    by_rank = isinstance(executor, Ranks)
    if folder.merged and not (by_rank and out.exists()):
        folder.begin_again()
    if folder.merged:
        yield None
        return
    folder.add_graphs(graphs)
    if isinstance(executor, Ranks) and not _do_own_shards(folder, executor, suffix, title):
        yield None
        return
    with folder.alone() as alone:
        if not alone and not by_rank:
            raise ShardError(f"Another process is working on {folder.path}: wait for it, or choose another --out.")
        if not alone or folder.merged:
            yield None
            return
        with closing(_finished(folder, executor, suffix)) as files:
            yield files
        if by_rank:
            folder.leave_note()
            return
    folder.delete()


def _finished(folder: WorkFolder, executor: Executor, suffix: str) -> Generator[Path]:
    numbers = range(folder.job.shards)
    folder.forget_damaged(numbers, suffix)
    done = folder.done()
    missing = [number for number in numbers if number not in done]
    with closing(executor.run(_task(folder), missing)) as fresh:
        for number in numbers:
            while number not in done:
                record = next(fresh, None)
                if record is None:
                    raise ShardError(f"Shard {number} of {folder.path} is missing; run the same command again.")
                done[record.number] = record
            yield folder.checked(done[number], suffix)


def _do_own_shards(folder: WorkFolder, ranks: Ranks, suffix: str, title: str) -> bool:
    """Does what one rank has not done yet; returns whether all shards of all ranks are done then."""
    own = [number for number in range(folder.job.shards) if ranks.owns(number)]
    folder.forget_damaged(own, suffix)
    total = sum(len(folder.job.images(number)) for number in own)
    with Progress(f"{title}, {ranks}", total, unit="images") as progress:
        for record in ranks.run(_task(folder), own):
            progress.advance(record.images)
    return len(folder.done()) == folder.job.shards


def _task(folder: WorkFolder) -> Perform:
    return Perform(str(folder.path.absolute()), folder.job_sha256)
