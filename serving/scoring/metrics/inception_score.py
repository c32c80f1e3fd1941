"""The Inception score (paper, section 4): exp of the mean divergence of each image's classes from those of all.

The score of a set is ``exp(θ)``, ``θ = mean_i KL(pᵢ ‖ q)`` with ``q = mean_i pᵢ``. Of the sums: ``θ = H/n - Σₖ qₖ log
qₖ`` with ``H = Σᵢ Σₖ pᵢₖ log pᵢₖ``.

The protocol of the paper takes it of 10 splits and reports their mean and standard deviation. Each split is a tenth of
the images, and the score of few images is biased low, so the set's own score is given as well, with error bars.

Standard error, by the delta method: ``θ`` is a smooth function of means. Its derivative by ``qₖ`` is ``-log qₖ - 1``,
so image ``i`` moves ``θ`` by ``(KL(pᵢ ‖ q) - θ) / n``, and ``Var θ = Var KL(pᵢ ‖ q) / n``: the linear function ``(1,
-log q)`` of the vector ``(hᵢ, pᵢ)``, whose second moments are summed.

Bias: ``-Σ q log q`` is concave, its second derivative is ``-1 / qₖ``, and ``Var qₖ = Var pₖ / n``; so ``E[θ'] = θ - Σₖ
Var(pₖ) / (2 n qₖ)`` to first order in 1/n. Exponentiation adds ``Var(θ') / 2``. The corrected score is ``exp(θ' + Σₖ
Var(pₖ) / (2 n qₖ) - Var(θ') / 2)``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import ScoringError
from igan_zoo.serving.scoring.accumulator import (
    COARSE_ENTROPY_STEPS,
    COARSE_PROBABILITY_STEPS,
    PROBABILITY_STEPS,
    probabilities_and_entropies,
)
from igan_zoo.serving.scoring.statistics import Facts, Statistics, check_complete, image_splits


@dataclass(frozen=True)
class InceptionScore:
    """``mean`` and population ``deviation`` over the ``splits`` are the paper's numbers.

    ``unsplit`` is the score of all images together, ``corrected`` the same less its bias, ``standard_error`` that of
    both.
    """

    mean: float
    deviation: float
    splits: tuple[float, ...]
    unsplit: float
    corrected: float
    standard_error: float


def inception_score(statistics: Statistics) -> InceptionScore:
    """Returns the Inception score of exact sums.

    Raises:
        ScoringError: images are missing, or a split has none.
    """
    check_complete(statistics)
    counts = statistics.split_counts
    if not counts.all():
        raise ScoringError(
            f"A split of {statistics.name} has no image that decodes: use fewer splits, or other images."
        )
    probabilities = statistics.split_probabilities / PROBABILITY_STEPS
    entropies = statistics.split_entropies / PROBABILITY_STEPS
    splits = np.exp(entropies / counts - negative_entropy(probabilities / counts[:, None]))
    total = counts.sum()
    theta = float(entropies.sum() / total - negative_entropy(probabilities.sum(axis=0) / total))

    steps = np.array([COARSE_PROBABILITY_STEPS] * statistics.facts.classes + [COARSE_ENTROPY_STEPS])
    means = statistics.class_moments[:-1, -1] / steps / total
    squares = statistics.class_moments[:-1, :-1] / np.outer(steps, steps) / total
    covariance = (squares - np.outer(means, means)) * (total / (total - 1))
    return _with_error_bars(splits, theta, means[:-1], covariance, int(total))


def inception_score_reference(facts: Facts, logits: NDArray[np.float32]) -> InceptionScore:
    """The same of every image's logits ``[images, classes]``, by the definition, in float64."""
    probabilities, entropies = probabilities_and_entropies(np.asarray(logits, np.float64))
    chosen = image_splits(facts)

    def log_score(here: NDArray[np.bool_]) -> float:
        q = probabilities[here].mean(axis=0)
        return float((entropies[here] - probabilities[here] @ _log(q)).mean())

    splits = np.exp([log_score(chosen == split) for split in range(facts.splits)])
    rows = np.column_stack([probabilities, entropies])
    theta = log_score(np.ones(len(rows), np.bool_))
    return _with_error_bars(splits, theta, probabilities.mean(axis=0), np.cov(rows, rowvar=False), len(rows))


def unsplit_score(logits: NDArray[np.float32]) -> float:
    """Returns the score of all images together, of their logits ``[images, classes]``, in float64."""
    probabilities, entropies = probabilities_and_entropies(np.asarray(logits, np.float64))
    return float(np.exp(entropies.mean() - negative_entropy(probabilities.mean(axis=0))))


def _with_error_bars(
    splits: NDArray[np.float64], theta: float, q: NDArray[np.float64], covariance: NDArray[np.float64], count: int
) -> InceptionScore:
    """Adds what the module's docstring derives; ``covariance`` ``[K + 1, K + 1]`` is that of (p, Σ p log p)."""
    influence = np.append(-_log(q), 1.0)
    variance = max(float(influence @ covariance @ influence), 0.0) / count
    possible = q > 0
    bias = float((covariance.diagonal()[:-1][possible] / q[possible]).sum()) / (2 * count)
    corrected = float(np.exp(theta + bias - variance / 2))
    return InceptionScore(
        mean=float(splits.mean()),
        deviation=float(splits.std()),
        splits=tuple(float(score) for score in splits),
        unsplit=float(np.exp(theta)),
        corrected=corrected,
        standard_error=corrected * variance**0.5,
    )


def negative_entropy(q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns ``Σₖ qₖ log qₖ`` over the last axis; a class that never occurs adds 0."""
    return np.asarray((q * _log(q)).sum(axis=-1))


def _log(q: NDArray[np.float64]) -> NDArray[np.float64]:
    """``log q``, and 0 for classes that never occur, where it only meets factors of 0."""
    return np.log(np.where(q > 0, q, 1.0))
