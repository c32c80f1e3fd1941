"""When a run saves its state and draws its pictures: not so often that it does little else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

# At the end of an epoch a run saves if it has worked so many times as long as saving takes: at most 5 % of the time.
_WORK_PER_SAVE = 20.0


class SaveClock:
    """How long the last save is ago, and how long it took.

    An epoch of minutes is saved at its end and, every ``most_seconds``, in between. Where an epoch takes seconds, as on
    a GPU, the state is saved after every few of them.
    """

    def __init__(self, most_seconds: float) -> None:
        self._most_seconds = most_seconds
        self._last = time.monotonic()
        self._cost = 0.0

    @contextmanager
    def saving(self) -> Iterator[None]:
        """The context in which the state is saved and pictures are drawn."""
        began = time.monotonic()
        yield
        self._last = time.monotonic()
        self._cost = self._last - began

    def due(self) -> bool:
        """Whether it is time to save within an epoch."""
        return time.monotonic() - self._last > self._most_seconds

    def due_after_epoch(self) -> bool:
        """Whether it is time to save at the end of an epoch."""
        return time.monotonic() - self._last > min(self._most_seconds, _WORK_PER_SAVE * self._cost)
