"""What came of visual Turing tests: a line of JSON an answer, appended, and the sums by model and condition.

A line holds nothing about who answered. Sums count finished tests only: who is right more often may go on for longer.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from igan_zoo.errors import DataError, OutputError
from igan_zoo.machine.files import open_regular
from igan_zoo.models.spec import Strict
from igan_zoo.serving.server.turing.game import Kind, TuringTest, wilson_interval

# Of tests that were begun, those that are remembered until they end.
_UNFINISHED_KEPT = 10_000


class Answer(Strict, frozen=True, kw_only=True):
    """One answer. ``seed`` and ``index`` address a generated image; ``index`` alone a real one of ``real``."""

    test: str
    day: str
    model: str
    generator: str
    real: str
    feedback: bool
    rounds: int
    round: int
    kind: Kind
    seed: int
    index: int
    answer: Kind

    @property
    def wrong(self) -> bool:
        """Whether the image was of the other kind."""
        return self.kind != self.answer


def last_answer(test: TuringTest, *, generator: str, real: str, day: str) -> Answer:
    """Returns the record of a test's latest answer; ``generator`` is the sha256 of its graph, ``real`` the source."""
    number = len(test.answers)
    shown = test.rounds[number - 1]
    return Answer(
        test=test.test,
        day=day,
        model=test.model,
        generator=generator,
        real=real,
        feedback=test.feedback,
        rounds=len(test.rounds),
        round=number,
        kind=shown.kind,
        seed=test.seed,
        index=shown.index,
        answer=test.answers[-1],
    )


@dataclass(frozen=True)
class Summary:
    """The finished tests of one model under one condition.

    ``error_rate`` is the share of wrong answers, ``low`` and ``high`` its 95 % interval by Wilson, ``fooled`` the share
    of generated images that were taken for real ones. ``unfinished`` tests count in nothing else.
    """

    model: str
    feedback: bool
    tests: int
    unfinished: int
    answers: int
    errors: int
    error_rate: float | None
    low: float
    high: float
    fooled: float | None


@dataclass
class _Sums:
    tests: int = 0
    answers: int = 0
    errors: int = 0
    generated: int = 0
    fooled: int = 0

    def add(self, other: _Sums) -> None:
        self.tests += other.tests
        self.answers += other.answers
        self.errors += other.errors
        self.generated += other.generated
        self.fooled += other.fooled


class Results:
    """Adds up answers in the order in which they came, in bounded memory."""

    def __init__(self) -> None:
        self._finished: dict[tuple[str, bool], _Sums] = {}
        self._unfinished: OrderedDict[str, tuple[tuple[str, bool], _Sums]] = OrderedDict()
        self._given_up: Counter[tuple[str, bool]] = Counter()

    def add(self, answer: Answer) -> None:
        """Counts an answer; its test counts once it has an answer for every round."""
        condition = (answer.model, answer.feedback)
        self._finished.setdefault(condition, _Sums())
        _, sums = self._unfinished.setdefault(answer.test, (condition, _Sums()))
        generated = answer.kind == "generated"
        sums.add(_Sums(0, 1, int(answer.wrong), int(generated), int(generated and answer.wrong)))
        if sums.answers == answer.rounds:
            sums.tests = 1
            self._finished[condition].add(sums)
            del self._unfinished[answer.test]
        elif len(self._unfinished) > _UNFINISHED_KEPT:
            _, (given_up, _) = self._unfinished.popitem(last=False)
            self._given_up[given_up] += 1

    def summaries(self, model: str | None = None) -> list[Summary]:
        """Returns the sums by model, those without feedback first; of one model if it is named."""
        unfinished = self._given_up + Counter(condition for condition, _ in self._unfinished.values())
        return [
            self._summary(name, feedback, sums, unfinished[name, feedback])
            for (name, feedback), sums in sorted(self._finished.items())
            if model in (None, name)
        ]

    def _summary(self, model: str, feedback: bool, sums: _Sums, unfinished: int) -> Summary:
        low, high = wilson_interval(sums.errors, sums.answers)
        return Summary(
            model=model,
            feedback=feedback,
            tests=sums.tests,
            unfinished=unfinished,
            answers=sums.answers,
            errors=sums.errors,
            error_rate=sums.errors / sums.answers if sums.answers else None,
            low=low,
            high=high,
            fooled=sums.fooled / sums.generated if sums.generated else None,
        )


def prepare_results(path: Path) -> None:
    """Makes sure that answers can be appended to a file, which is made where there is none.

    Raises:
        OutputError: they cannot.
    """
    try:
        os.close(_open_to_append(path))
    except OSError as error:
        raise OutputError(f"Cannot write the results {path}: {error.strerror}; name another file.") from error


def append_answer(path: Path, answer: Answer) -> None:
    """Appends one line, in one write, and returns when it is on the disk.

    A line that an earlier crash cut short is ended first, so that it cannot spoil this one.

    Raises:
        OutputError: the file cannot be written; it is as it was before.
    """
    try:
        descriptor = _open_to_append(path)
        try:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            line = (b"\n" if torn else b"") + msgspec.json.encode(answer) + b"\n"
            try:
                if os.write(descriptor, line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(descriptor)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"Cannot write {path}: {reason}; the answer was not saved.") from error


def _open_to_append(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)


def read_answers(path: Path) -> Iterator[Answer]:
    """Yields the answers of a file. A line without an end, or the torn one of a crash, is skipped.

    Raises:
        DataError: there is no such file, or a line is something else than an answer.
    """
    try:
        lines = open_regular(path)
    except OSError as error:
        raise DataError(f"Cannot read the results {path}: {error.strerror}.") from error
    with lines:
        for number, line in enumerate(lines, 1):
            try:
                yield msgspec.json.decode(line, type=Answer)
            except msgspec.ValidationError as error:
                raise DataError(f"Line {number} of {path} is not an answer of a Turing test: {error}.") from error
            except (msgspec.DecodeError, UnicodeDecodeError):
                # What a crash left of a line is no JSON.
                continue


def read_results(files: Iterable[Path]) -> Results:
    """Returns the sums of all answers of files, in their order.

    Raises:
        DataError: as ``read_answers``.
    """
    results = Results()
    for path in files:
        for answer in read_answers(path):
            results.add(answer)
    return results
