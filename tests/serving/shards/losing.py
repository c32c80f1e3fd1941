"""Executors whose workers are killed in the middle of a shard, really."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from igan_zoo.serving.shards.task import Executor, Task
from igan_zoo.serving.shards.work_folder import Done


@dataclass(frozen=True)
class KillsItsWorker:
    """A task that ends its process by SIGKILL instead of doing shard ``number``, so many times."""

    task: Task
    number: int
    times: int
    marks: Path

    def __call__(self, number: int) -> Done:
        marks = len(list(self.marks.iterdir()))
        if number == self.number and marks < self.times:
            (self.marks / f"{marks}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.task(number)


@dataclass(frozen=True)
class Losing:
    """An executor that loses a worker over shard ``number``, so many times; ``marks`` has a file for each time."""

    executor: Executor
    marks: Path
    number: int = 2
    times: int = 1

    def run(self, task: Task, numbers: Sequence[int]) -> Generator[Done]:
        self.marks.mkdir(exist_ok=True)
        yield from self.executor.run(KillsItsWorker(task, self.number, self.times, self.marks), numbers)

    @property
    def lost(self) -> int:
        return len(list(self.marks.iterdir()))


@dataclass
class Noting:
    """An executor that notes which shards it was given."""

    executor: Executor
    numbers: list[int] = field(default_factory=list)

    def run(self, task: Task, numbers: Sequence[int]) -> Generator[Done]:
        self.numbers += numbers
        yield from self.executor.run(task, numbers)
