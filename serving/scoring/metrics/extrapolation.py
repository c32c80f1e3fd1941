"""Scores of endlessly many images (Chong and Forsyth, 2020): a line through the scores of subsets, at 1/n = 0.

The bias of an Inception score or a Fréchet distance of n images is nearly ``c / n``, and ``c`` depends on the model, so
that even scores of equally many images do not compare well. Both are computed of growing subsets, and the intercept of
the least-squares line over 1/n is the score without that bias.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from igan_zoo.counts import counted
from igan_zoo.errors import ScoringError
from igan_zoo.machine.progress import Progress
from igan_zoo.serving.scoring.accumulator import PROBABILITY_STEPS
from igan_zoo.serving.scoring.metrics.frechet_distance import Gaussian, frechet_distance, gaussian_of
from igan_zoo.serving.scoring.metrics.inception_score import negative_entropy
from igan_zoo.serving.scoring.statistics import Statistics, check_complete

# The paper's: from a tenth of the images to all of them.
POINTS = 15
_SMALLEST_PART = 10
FEWEST_IMAGES = 2 * _SMALLEST_PART
FEWEST_SPLITS = 3

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Extrapolation:
    """``value`` at 1/n = 0, and the standard error that the scatter around the line gives it."""

    value: float
    standard_error: float


def frechet_distance_infinity(
    features: NDArray[np.float32],
    reference: Gaussian,
    *,
    points: int = POINTS,
    seed: int,
    distance: Callable[[Gaussian, Gaussian], float] = frechet_distance,
) -> Extrapolation:
    """Returns the distance of features ``[N, F]`` from the reference, without the bias of the number of images.

    The sizes are evenly spaced, the subsets random, each drawn by itself; the reference is always the whole.

    Raises:
        ScoringError: there are fewer than 20 images, or the numbers of features differ.
    """
    check_images(len(features))
    sizes = np.linspace(len(features) // _SMALLEST_PART, len(features), points).astype(np.int64)
    random = np.random.RandomState(seed)
    distances = np.empty(points)
    with Progress("extrapolated distance", points, unit="subsets") as bar:
        for index, size in enumerate(sizes):
            chosen = random.choice(len(features), size, replace=False)
            distances[index] = distance(gaussian_of(features[chosen]), reference)
            bar.advance(1)
    return intercept(sizes, distances)


def inception_score_infinity(statistics: Statistics) -> Extrapolation:
    """Returns the Inception score without the bias of the number of images.

    Differs from the paper: the subsets are of whole splits. With S splits there are S subsets of each size from one
    split to S - 1, so that sums are enough; the score of a size is their mean.

    Raises:
        ScoringError: images are missing, or there are fewer than three splits with images.
    """
    check_complete(statistics)
    counts, splits = statistics.split_counts, len(statistics.split_counts)
    check_splits(int((counts > 0).sum()), splits)
    # Subsets of k splits are the windows of a ring.
    ring = np.arange(2 * splits) % splits
    sums = [
        np.concatenate([np.zeros_like(part[:1]), np.cumsum(part[ring], axis=0)])
        for part in (counts, statistics.split_entropies / PROBABILITY_STEPS, _probabilities(statistics))
    ]
    sizes, scores = np.empty(splits), np.empty(splits)
    for k in range(1, splits + 1):
        images, entropies, probabilities = (part[k : k + splits] - part[:splits] for part in sums)
        q = probabilities / images[:, None]
        scores[k - 1] = np.exp(entropies / images - negative_entropy(q)).mean()
        sizes[k - 1] = images.mean()
    return intercept(sizes, scores)


def inception_score_infinity_reference(probabilities: Array, splits: NDArray[np.int64]) -> Extrapolation:
    """The same of every image's probabilities ``[N, K]`` and split ``[N]``, subset by subset."""
    count = int(splits.max()) + 1
    sizes, scores = [], []
    for k in range(1, count + 1):
        subsets = [np.isin(splits, [(first + step) % count for step in range(k)]) for first in range(count)]
        divergences = []
        for subset in subsets:
            p = probabilities[subset]
            divergences.append((p * (np.log(p) - np.log(p.mean(axis=0)))).sum(axis=1).mean())
        sizes.append(np.mean([subset.sum() for subset in subsets]))
        scores.append(np.exp(divergences).mean())
    return intercept(np.array(sizes), np.array(scores))


def check_images(count: int) -> None:
    """Refuses to extrapolate a distance of too few images.

    Raises:
        ScoringError: there are fewer than 20.
    """
    if count < FEWEST_IMAGES:
        raise ScoringError(
            f"fid-inf draws a line through the distances of subsets, for which {counted(count, 'image')} will not "
            f"do: take {FEWEST_IMAGES} or more."
        )


def check_splits(filled: int, splits: int) -> None:
    """Refuses to extrapolate a score of too few splits, or of some without images.

    Raises:
        ScoringError: there are fewer than three, or some are empty.
    """
    if splits < FEWEST_SPLITS or filled < splits:
        raise ScoringError(
            f"is-inf draws a line through the scores of {FEWEST_SPLITS} splits or more, but only {filled} of {splits} "
            "have images: use more splits, or more images."
        )


def intercept(sizes: NDArray[np.number], scores: Array) -> Extrapolation:
    """Returns where the least-squares line of ``scores`` ``[P]`` over 1 / ``sizes`` meets 0."""
    x = 1.0 / sizes.astype(np.float64)
    spread = float(np.square(x - x.mean()).sum())
    slope = float((x - x.mean()) @ scores) / spread
    value = float(scores.mean() - slope * x.mean())
    residuals = scores - value - slope * x
    variance = float(residuals @ residuals) / (len(x) - 2)
    return Extrapolation(value, float(np.sqrt(variance * (1 / len(x) + x.mean() ** 2 / spread))))


def _probabilities(statistics: Statistics) -> Array:
    return np.asarray(statistics.split_probabilities / PROBABILITY_STEPS)
