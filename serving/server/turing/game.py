"""The paper's visual Turing test (section 4, Figure 2): is an image real or generated?

A test has a number of rounds, half of them real images, half generated, in random order. Each is answered once, in
turn.
"""

from __future__ import annotations

import math
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from igan_zoo.counts import counted
from igan_zoo.errors import UnknownNameError
from igan_zoo.serving.server.errors import AnswerError, ProtocolError

Kind = Literal["real", "generated"]

MAX_ROUNDS = 200
# Seeds stay exact in every JSON reader.
_SEEDS = 2**53
# The 97.5 % point of the normal distribution: intervals are of 95 %.
_QUANTILE = 1.959963984540054


@dataclass(frozen=True)
class Round:
    """What one round shows: image ``index`` of the real ones, or of the test's seed."""

    kind: Kind
    index: int


def choose_rounds(rounds: int, *, real: NDArray[np.int64], seed: int) -> tuple[Round, ...]:
    """Returns the rounds of a test: half real, half generated, in random order; the same for the same seed.

    ``real`` int64 ``[N]`` are the indices of real images to choose from; none is chosen twice. Of an odd number of
    rounds, chance decides which kind has one more.

    Raises:
        ProtocolError: the number of rounds is not in 1..200, or there are fewer real images than it takes.
    """
    if not 1 <= rounds <= MAX_ROUNDS:
        raise ProtocolError(f"A test has 1 to {MAX_ROUNDS} rounds, not {rounds}.")
    if len(real) < (rounds + 1) // 2:
        raise ProtocolError(
            f"There are only {counted(len(real), 'real image')} to show; use at most {2 * len(real)} rounds."
        )
    generator = np.random.default_rng(seed)
    count = rounds // 2 + int(generator.integers(2)) * (rounds % 2)
    shown = [Round("real", int(index)) for index in generator.choice(real, count, replace=False)]
    shown += [Round("generated", index) for index in range(rounds - count)]
    return tuple(shown[position] for position in generator.permutation(rounds))


@dataclass
class TuringTest:
    """A test that somebody takes. ``images`` uint8 ``[rounds, H, W, C]`` are what the rounds show, in their order.

    ``test`` names it; nobody can guess it, and it says nothing about who answers.
    """

    test: str
    model: str
    feedback: bool
    seed: int
    rounds: tuple[Round, ...]
    images: NDArray[np.uint8]
    answers: list[Kind] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        """Whether every round was answered."""
        return len(self.answers) == len(self.rounds)

    @property
    def errors(self) -> int:
        """How many answers so far were wrong."""
        return sum(shown.kind != answer for shown, answer in zip(self.rounds, self.answers, strict=False))

    def shown(self, number: int) -> NDArray[np.uint8]:
        """Returns the image of round ``number``, counted from 1, uint8 ``[H, W, C]``.

        Images can be seen one round ahead, so that a page may fetch the next while the present one is looked at.

        Raises:
            UnknownNameError: the test has no such round.
            AnswerError: it is not this round's turn yet.
        """
        self._check_number(number)
        if number > len(self.answers) + 2:
            raise AnswerError(f"Round {number} is not open yet; answer round {len(self.answers) + 1} first.")
        image: NDArray[np.uint8] = self.images[number - 1]
        return image

    def answer(self, number: int, answer: Kind) -> bool:
        """Takes the answer of round ``number``, counted from 1, and returns whether it is right.

        Raises:
            UnknownNameError: the test has no such round.
            AnswerError: the round has been answered, or it is not its turn yet.
        """
        self._check_number(number)
        if number <= len(self.answers):
            raise AnswerError(f"Round {number} has been answered; an answer cannot be changed.")
        if number > len(self.answers) + 1:
            raise AnswerError(f"Round {number} is not open yet; answer round {len(self.answers) + 1} first.")
        self.answers.append(answer)
        return self.rounds[number - 1].kind == answer

    def take_back(self) -> None:
        """Forgets the latest answer, so that it can be given again."""
        self.answers.pop()

    def _check_number(self, number: int) -> None:
        if not 1 <= number <= len(self.rounds):
            raise UnknownNameError(f"This test has rounds 1 to {len(self.rounds)}, but no round {number}.")


class OpenTests:
    """The tests that can still be answered or looked at: at most so many, and at most so many bytes of images.

    When another would be too much, the one that was left alone for the longest makes place for it.
    """

    def __init__(self, *, max_tests: int = 1000, max_bytes: int = 128 * 2**20) -> None:
        self._tests: OrderedDict[str, TuringTest] = OrderedDict()
        self._max_tests, self._max_bytes = max_tests, max_bytes

    def __len__(self) -> int:
        return len(self._tests)

    def add(self, test: TuringTest) -> None:
        """Opens a test."""
        self._tests[test.test] = test
        while len(self) > 1 and (len(self) > self._max_tests or self._bytes() > self._max_bytes):
            self._tests.popitem(last=False)

    def find(self, name: str) -> TuringTest:
        """Returns the test of that name.

        Raises:
            UnknownNameError: there is none, or none any more.
        """
        if name not in self._tests:
            raise UnknownNameError("There is no such test, or it expired; begin a new one.")
        self._tests.move_to_end(name)
        return self._tests[name]

    def _bytes(self) -> int:
        return sum(test.images.nbytes for test in self._tests.values())


def new_name() -> str:
    """Returns a name for a test: 128 random bits."""
    return secrets.token_urlsafe(16)


def new_seed() -> int:
    """Returns a seed for a test's rounds and generated images, in 0..2**53-1."""
    return secrets.randbelow(_SEEDS)


def wilson_interval(errors: int, answers: int) -> tuple[float, float]:
    """Returns the 95 % interval of an error rate (Wilson, 1927); without answers it is everything from 0 to 1."""
    if answers == 0:
        return 0.0, 1.0
    rate, square = errors / answers, _QUANTILE**2
    centre = (rate + square / (2 * answers)) / (1 + square / answers)
    half = _QUANTILE * math.sqrt(rate * (1 - rate) / answers + square / (4 * answers**2)) / (1 + square / answers)
    return max(0.0, centre - half), min(1.0, centre + half)
