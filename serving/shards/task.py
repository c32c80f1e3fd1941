"""What does the shards, and how often it begins one again."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from igan_zoo.serving.shards.work_folder import Done

# How often a shard whose worker was lost is begun again: a shard that kills its workers must come to an end.
RETRIES = 3

# Without an import: what a spawned process imports first must not load numpy, whose threads are not yet limited.
Task = Callable[[int], "Done"]


class Executor(Protocol):
    """Runs a task, which must travel by pickle to workers of one thread each, on the shards of these numbers."""

    def run(self, task: Task, numbers: Sequence[int]) -> Generator[Done]:
        """Yields every shard when it is done, in any order; one whose worker was lost is done again.

        Raises:
            ShardError: there are no workers, or a shard lost ``RETRIES`` of them and another one.
            IganZooError: what the task raised.
        """
        ...


def lost_too_often(number: int | None, reason: str) -> str:
    """Returns the sentence for a shard, of that number where it is known, that has lost too many workers."""
    which = "A shard" if number is None else f"Shard {number}"
    return (
        f"{which} lost its worker {RETRIES + 1} times ({reason}), so it may need more memory than there is: run the "
        "same command again with fewer --workers; it continues from the finished shards."
    )
