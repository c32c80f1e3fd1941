"""Progress of long work: a bar on a terminal, a plain line every few seconds elsewhere, always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress as RichProgress

_SECONDS_BETWEEN_LINES = 10.0
_WANTED = ContextVar("_WANTED", default=False)


@contextmanager
def showing_progress(wanted: bool = True) -> Iterator[None]:
    """Shows, or with ``wanted`` false hides, the progress of the work inside; a library shows none unless asked."""
    token = _WANTED.set(wanted)
    try:
        yield
    finally:
        _WANTED.reset(token)


def progress_is_wanted() -> bool:
    """Returns whether progress is to be shown here."""
    return _WANTED.get()


class Progress:
    """Shows how far work of ``total`` units has come; use it as a context manager.

    ``done`` is where a resumed piece of work starts. Nothing is shown for work that ends within the first second, or
    where ``shown`` is false, as in all but one of several processes that do the same, or outside of
    :func:`showing_progress`.
    """

    def __init__(self, title: str, total: int, *, unit: str, done: int = 0, shown: bool = True) -> None:
        self._shown = shown and progress_is_wanted()
        self._title, self._total, self._unit = title, total, unit
        self._done = self._first = done
        self._started = self._last_line = time.monotonic()
        self._bar: RichProgress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, units: int, note: str = "") -> None:
        """Counts ``units`` more as done; ``note`` says what is worth seeing just now."""
        self._done += units
        if not self._shown:
            return
        now = time.monotonic()
        if sys.stderr.isatty():
            if self._bar is None and now - self._started > 1.0:
                self._bar = self._new_bar()
            if self._bar is not None:
                self._bar.update(self._bar.task_ids[0], completed=self._done, note=note)
        elif now - self._last_line > _SECONDS_BETWEEN_LINES:
            self._last_line = now
            rate = (self._done - self._first) / (now - self._started)
            left = (self._total - self._done) / rate if rate > 0 else float("inf")
            line = f"{self._title}: {self._done}/{self._total} {self._unit}, {rate:.1f}/s, {left:.0f} s left"
            sys.stderr.write(f"{line}  {note}\n" if note else f"{line}\n")

    def _new_bar(self) -> RichProgress:
        from rich.console import Console

        bar = new_bar(self._unit, Console(stderr=True))
        bar.add_task(self._title, total=self._total, note="")
        bar.start()
        return bar


def new_bar(unit: str, console: Console) -> RichProgress:
    """Returns a bar whose note has a line of its own, so that bar, count and time left stay where a line is short."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress
    from rich.text import Text

    class Bar(RichProgress):
        def get_renderables(self) -> Iterator[RenderableType]:
            yield self.make_tasks_table(self.tasks)
            for task in self.tasks:
                if note := task.fields["note"]:
                    yield Text(note, no_wrap=True, overflow="ellipsis")

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit)
    return Bar(*columns, TimeRemainingColumn(), console=console)
