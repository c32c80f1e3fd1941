"""Shards by rank: torchrun, SLURM and job arrays start the same command several times and number the processes."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from igan_zoo.errors import ShardError

if TYPE_CHECKING:
    from igan_zoo.serving.shards.task import Task
    from igan_zoo.serving.shards.work_folder import Done

# What says the number of a process, how many there are, and the number of the first.
_VARIABLES = (
    ("RANK", "WORLD_SIZE", None),
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN"),
    ("SLURM_PROCID", "SLURM_NTASKS", None),
)


class OtherRankMergesError(Exception):
    """This rank's shards are done; the statistics are for the rank that finds all of them done."""


@dataclass(frozen=True)
class Ranks:
    """Process ``rank`` of ``world``, counted from 0, which does every ``world``-th shard itself."""

    rank: int
    world: int

    def run(self, task: Task, numbers: Sequence[int]) -> Generator[Done]:
        """Yields the shards of this rank; those of a lost one are done when its command is run again."""
        return (task(number) for number in numbers if self.owns(number))

    def owns(self, number: int) -> bool:
        """Returns whether a shard is this rank's."""
        return number % self.world == self.rank

    def __str__(self) -> str:
        return f"rank {self.rank} of {self.world}"


def find_rank(environment: Mapping[str, str] = os.environ) -> Ranks:
    """Returns which rank the environment says this is; rank 0 of 1 where it says nothing.

    Raises:
        ShardError: it says what cannot be.
    """
    for names in _VARIABLES:
        rank, world, first = (environment.get(name) if name else "0" for name in names)
        if rank is None and world is None:
            continue
        try:
            found = Ranks(int(rank or "") - int(first or "0"), int(world or ""))
        except ValueError:
            found = Ranks(0, 0)
        if not 0 <= found.rank < found.world:
            raise ShardError(f"{names[0]} is {rank} and {names[1]} is {world}: set both, the first below the second.")
        return found
    return Ranks(0, 1)
