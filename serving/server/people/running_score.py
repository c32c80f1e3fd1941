"""The Inception score of images whose number is not known before the last has come.

An image's split depends on the number of all, so the logits are kept in a file without a name, and the records are
computed of them in the end, as ``igan-zoo score`` does. What runs along is the score of all images together.
"""

from __future__ import annotations

from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from igan_zoo.counts import none_usable
from igan_zoo.errors import DataError
from igan_zoo.serving.scoring.accumulator import Accumulator
from igan_zoo.serving.scoring.kept_logits import KeptLogits
from igan_zoo.serving.scoring.metrics.inception_score import inception_score
from igan_zoo.serving.scoring.network import Network
from igan_zoo.serving.scoring.plan import results
from igan_zoo.serving.scoring.protocols import Record
from igan_zoo.serving.scoring.statistics import Facts, check_facts
from igan_zoo.serving.scoring.statistics_cache import stamped

_NAMED = 10


class RunningScore:
    """Takes the logits of up to ``most`` images, in any order, numbered as they came. A context manager.

    ``network`` says which scorer they are of.
    """

    def __init__(self, network: Network, most: int) -> None:
        self._facts = Facts(
            scorer=network.name,
            scorer_sha256=network.sha256,
            resize=network.resize,
            precision=network.precision,
            source="these images",
            images=most,
            # Not even their sums are of use to this score.
            features=0,
            classes=network.classes,
            splits=1,
        )
        self._provider = network.provider
        self._sums = Accumulator(self._facts)
        self._logits = KeptLogits(most, network.classes)
        self._skipped: list[int] = []
        self.left_out: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._logits.__exit__(kind, error, trace)

    @property
    def images(self) -> int:
        """How many images are in the score."""
        return len(self._logits)

    def add(self, numbers: NDArray[np.int64], logits: NDArray[np.float32]) -> None:
        """Adds the images numbered ``numbers`` ``[N]`` by their logits ``[N, classes]``.

        Raises:
            ScoringError: the logits cannot be summed.
            OutputError: there is no room for temporary files.
        """
        self._sums.add(numbers, np.zeros((len(numbers), 0), np.float32), logits)
        self._logits.add(numbers, logits)

    def skip(self, number: int, reason: str) -> None:
        """Notes that an image does not decode; the first sentences are kept in ``left_out``."""
        self._skipped.append(number)
        if len(self.left_out) < _NAMED:
            self.left_out.append(reason)

    def line(self) -> dict[str, Any]:
        """Returns the score of all images so far, unsplit, and its standard error; ``None`` before there are two."""
        line: dict[str, Any] = {"images": self.images, "skipped": len(self._skipped)}
        if self.images < 2:
            return line | {"score": None, "corrected": None, "standard_error": None}
        facts = msgspec.structs.replace(self._facts, images=self.images)
        there, none = np.ones(self.images, np.bool_), np.zeros(self.images, np.bool_)
        score = inception_score(replace(self._sums.statistics(), facts=facts, covered=there, skipped=none))
        return line | {
            "score": score.unsplit,
            "corrected": score.corrected,
            "standard_error": score.standard_error,
        }

    def records(self, source: str, fingerprint: str, *, splits: int, seed: int) -> list[Record]:
        """Returns what ``igan-zoo score --format json`` prints of the same images.

        Raises:
            DataError: there is no image that decodes.
            ScoringError: there are too few for these splits.
        """
        images = self.images + len(self._skipped)
        if not self.images:
            reason = f": {self.left_out[0]}" if self.left_out else "."
            raise DataError(f"{none_usable(images, 'image', source)}{reason}")
        facts = msgspec.structs.replace(
            self._facts, source=source, fingerprint=fingerprint, images=images, splits=splits, seed=seed
        )
        check_facts(facts)
        sums = Accumulator(facts)
        for numbers, logits in self._logits.chunks():
            sums.add(numbers, np.zeros((len(numbers), 0), np.float32), logits.astype(np.float32))
        sums.skip(np.array(self._skipped, np.int64))
        return stamped(results(("is",), sums.statistics(), None), self._provider)
