"""Gathers the statistics of a set of images from what a scorer says of them, batch by batch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from igan_zoo.errors import ScoringError
from igan_zoo.serving.scoring.metrics.moments import LARGEST_FEATURE, ExactMoments, feature_steps
from igan_zoo.serving.scoring.statistics import Facts, Statistics, check_facts, image_splits, kept_images

# Probabilities and entropies are counted in these steps. The score's relative error is at most, with C classes,
# C 2⁻⁴¹ (1 + 41 log 2) + 2⁻⁴¹ (1.4e-8 for C = 1008), every rounding in one direction; that of unsplit's error bars is
# the larger one of the coarser steps.
PROBABILITY_STEPS = 2**40
COARSE_PROBABILITY_STEPS = 2**20
COARSE_ENTROPY_STEPS = 2**17

# Beyond this a probability is 0 in float64, and Σ p log p could become 0 * inf.
_LARGEST_LOGIT = 1e30


class Accumulator:
    """Adds batches in any order; ``statistics()`` gives the same bits for any batch size and order.

    What it holds does not grow with the number of images, but for the kept features.
    """

    def __init__(self, facts: Facts, *, shard: tuple[int, int] | None = None) -> None:
        """Starts without images.

        Raises:
            ScoringError: the facts allow no score, as fewer than two images.
        """
        check_facts(facts)
        self._facts, self._shard = facts, shard
        self._splits = image_splits(facts)
        self._covered, self._skipped = np.zeros(facts.images, np.bool_), np.zeros(facts.images, np.bool_)
        self._counts = np.zeros(facts.splits, np.int64)
        self._probabilities = np.zeros((facts.splits, facts.classes), np.int64)
        self._entropies = np.zeros(facts.splits, np.int64)
        self._class_moments = ExactMoments(facts.classes + 2)
        self._feature_moments = ExactMoments(facts.features + 1)
        self._kept = kept_images(facts)
        self._kept_features = np.zeros((facts.kept, facts.features), np.float32)

    def add(self, images: NDArray[np.int64], features: NDArray[np.float32], logits: NDArray[np.float32]) -> None:
        """Adds the images numbered ``images`` ``[N]``, by their ``features`` ``[N, F]`` and ``logits`` ``[N, K]``.

        Raises:
            ScoringError: an image came before or has no such number, a shape is not the scorer's, or something is not
                finite; nothing is added then.
        """
        self._check(images, features, logits)
        self._covered[images] = True
        self._add_probabilities(self._splits[images], np.ascontiguousarray(logits, np.float64))
        self._feature_moments.add(_with_ones(feature_steps(features)))
        here = np.isin(images, self._kept)
        self._kept_features[np.searchsorted(self._kept, images[here])] = features[here]

    def skip(self, images: NDArray[np.int64]) -> None:
        """Notes that the images numbered ``images`` ``[N]`` do not decode.

        Raises:
            ScoringError: an image came before or has no such number.
        """
        self._check_numbers(images)
        self._skipped[images] = True

    @property
    def done(self) -> int:
        """How many images were added or skipped."""
        return int(self._counts.sum() + self._skipped.sum())

    def statistics(self) -> Statistics:
        """Returns the statistics of the images added so far."""
        return Statistics(
            facts=self._facts,
            covered=self._covered.copy(),
            skipped=self._skipped.copy(),
            split_counts=self._counts.copy(),
            split_probabilities=self._probabilities.copy(),
            split_entropies=self._entropies.copy(),
            class_moments=self._class_moments.total(),
            feature_moments=self._feature_moments.total(),
            kept_features=self._kept_features[self._covered[self._kept]],
            shard=self._shard,
        )

    def _check(self, images: NDArray[np.int64], features: NDArray[np.float32], logits: NDArray[np.float32]) -> None:
        facts = self._facts
        for what, array, size in (("features", features, facts.features), ("logits", logits, facts.classes)):
            if array.shape != (len(images), size):
                raise ScoringError(
                    f"The scorer {facts.scorer} gave {what} of shape {list(array.shape)}, not {[len(images), size]}."
                )
            if not np.isfinite(array).all():
                worst = images[~np.isfinite(array).all(axis=1)][0]
                raise ScoringError(f"The scorer {facts.scorer} gave {what} that are not finite for image {worst}.")
        self._check_numbers(images)
        if np.abs(features).max(initial=0) >= LARGEST_FEATURE:
            raise ScoringError(
                f"The scorer {facts.scorer} gave a feature of size {np.abs(features).max():g}; exact sums take "
                f"features below {LARGEST_FEATURE:g}."
            )
        if np.abs(logits).max(initial=0) >= _LARGEST_LOGIT:
            raise ScoringError(f"The scorer {facts.scorer} gave a logit of size {np.abs(logits).max():g}.")

    def _check_numbers(self, images: NDArray[np.int64]) -> None:
        if len(images) == 0:
            return
        if not 0 <= images.min() <= images.max() < self._facts.images:
            raise ScoringError(f"Images {images.min()} to {images.max()} were scored of a set of {self._facts.images}.")
        if (self._covered[images] | self._skipped[images]).any() or len(np.unique(images)) < len(images):
            raise ScoringError(f"An image among {images.min()} to {images.max()} was scored twice.")

    def _add_probabilities(self, splits: NDArray[np.int64], logits: NDArray[np.float64]) -> None:
        probabilities, entropies = probabilities_and_entropies(logits)
        fine = _whole(probabilities, PROBABILITY_STEPS).astype(np.int64)
        fine_entropies = _whole(entropies, PROBABILITY_STEPS).astype(np.int64)
        for split in np.unique(splits):
            here = splits == split
            self._counts[split] += here.sum()
            self._probabilities[split] += fine[here].sum(axis=0)
            self._entropies[split] += fine_entropies[here].sum()
        coarse = _whole(probabilities, COARSE_PROBABILITY_STEPS)
        coarse_entropies = _whole(entropies, COARSE_ENTROPY_STEPS)
        self._class_moments.add(_with_ones(np.column_stack([coarse, coarse_entropies])))


def probabilities_and_entropies(logits: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the softmax p ``[N, K]`` of logits ``[N, K]`` and every image's ``Σₖ pₖ log pₖ`` ``[N]``.

    Each row is computed by itself, so the result does not depend on the batch; p = 0 adds 0.
    """
    if logits.shape[1] == 0:
        # An encoder without classes.
        return logits, np.zeros(len(logits))
    shifted = logits - logits.max(axis=1, keepdims=True)
    logarithms = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    probabilities = np.exp(logarithms)
    return probabilities, (probabilities * logarithms).sum(axis=1)


def _whole(values: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    return np.rint(values * steps)


def _with_ones(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.column_stack([rows, np.ones(len(rows))])
