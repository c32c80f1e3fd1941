"""Ctrl-C and SIGTERM during a training: the step is finished and the state saved before the end."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Takes note inside its block that somebody wants an end, as ``asked``; who asks twice gets it at once.

    Signals come to the main thread: in another one nothing is taken note of, nor what the process ignores.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._take_note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _take_note(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def _restore(self) -> None:
        for number, before in self._before.items():
            # None stands for a handler that was not installed by Python, and cannot be put back.
            if before is not None:
                signal.signal(number, before)  # type: ignore[arg-type]
        self._before.clear()
