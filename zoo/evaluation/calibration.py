"""Whether probabilities can be believed: the expected calibration error, and the temperature that makes it small."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# As Guo et al. (2017) have them.
_BINS = 15
_LEAST, _MOST = 0.05, 20.0
_GOLDEN = (math.sqrt(5) - 1) / 2
_STEPS = 40


@dataclass(frozen=True)
class Calibration:
    """Expected calibration error, 0 to 1; ``temperature`` is what logits are best divided by, and the error then.

    Both are None where the images cannot say: all answers are right, or wrong, or there is but one class.
    """

    error: float
    temperature: float | None
    error_at_temperature: float | None


def calibration_of(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> Calibration:
    """Returns how well the probabilities of ``logits`` ``[N, K]`` agree with ``labels`` int64 ``[N]``."""
    error = expected_calibration_error(probabilities_of(logits), labels)
    wrong = int((logits.argmax(axis=1) != labels).sum())
    if wrong in (0, len(labels)):
        return Calibration(error, None, None)
    temperature = fitted_temperature(logits, labels)
    return Calibration(error, temperature, expected_calibration_error(probabilities_of(logits, temperature), labels))


def probabilities_of(logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float64]:
    """Returns the softmax of logits ``[N, K]`` that are divided by a temperature, float64 ``[N, K]``."""
    return np.exp(_log_softmax(logits, temperature))


def expected_calibration_error(probabilities: NDArray[Any], labels: NDArray[np.int64], bins: int = _BINS) -> float:
    """Returns the mean distance between the probability of the answer and the share of right answers, 0 to 1.

    Answers of about the same probability are taken together, in ``bins`` of equal width.
    """
    sure = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    places = np.minimum((sure * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(places, sure - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def fitted_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Returns the temperature, 0.05 to 20, at which the labels are likeliest; the order of the classes stays."""

    def loss(power: float) -> float:
        return float(-_log_softmax(logits, math.exp(power))[np.arange(len(labels)), labels].mean())

    # The loss is convex in 1 / temperature, so it falls and then rises: a golden-section search.
    low, high = math.log(_LEAST), math.log(_MOST)
    inner = [high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)]
    losses = [loss(power) for power in inner]
    for _ in range(_STEPS):
        if losses[0] < losses[1]:
            high, inner, losses = inner[1], [0.0, inner[0]], [0.0, losses[0]]
            inner[0] = high - _GOLDEN * (high - low)
            losses[0] = loss(inner[0])
        else:
            low, inner, losses = inner[0], [inner[1], 0.0], [losses[1], 0.0]
            inner[1] = low + _GOLDEN * (high - low)
            losses[1] = loss(inner[1])
    return math.exp((low + high) / 2)


def _log_softmax(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    result: NDArray[np.float64] = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
    return result
