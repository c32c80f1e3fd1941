"""Scores of endlessly many images: the line, the subsets, and that the bias of the number of images is gone."""

from __future__ import annotations

import numpy as np
import pytest

from igan_zoo.errors import ScoringError
from igan_zoo.serving.scoring.accumulator import probabilities_and_entropies
from igan_zoo.serving.scoring.metrics.extrapolation import (
    frechet_distance_infinity,
    inception_score_infinity,
    inception_score_infinity_reference,
    intercept,
)
from igan_zoo.serving.scoring.metrics.frechet_distance import frechet_distance, frechet_distance_reference, gaussian_of
from igan_zoo.serving.scoring.metrics.inception_score import inception_score
from igan_zoo.serving.scoring.statistics import image_splits
from tests.serving.scoring.examples import some_facts, some_features, some_logits, statistics_of


def test_the_intercept_is_that_of_numpys_fit() -> None:
    sizes = np.array([10, 15, 30, 60, 90])
    scores = 3 + 7 / sizes + np.random.default_rng(0).normal(size=5) / 50
    (slope, constant), covariance = np.polyfit(1 / sizes, scores, 1, cov=True)
    found = intercept(sizes, scores)
    assert found.value == pytest.approx(constant, rel=1e-9)
    assert found.standard_error == pytest.approx(np.sqrt(covariance[1, 1]), rel=1e-9)
    assert intercept(sizes, 3 + slope / sizes).value == pytest.approx(3, rel=1e-12)


def test_a_distance_of_few_images_becomes_that_of_many() -> None:
    """Two sets of the same population lie at distance 0; 500 images of 24 features say more."""
    reference = gaussian_of(some_features(200_000, 24, 1))
    plain, extrapolated = [], []
    for seed in range(8):
        features = some_features(500, 24, 10 + seed)
        plain.append(frechet_distance(gaussian_of(features), reference))
        extrapolated.append(frechet_distance_infinity(features, reference, seed=seed).value)
    assert abs(np.mean(extrapolated)) < np.mean(plain) / 10


def test_any_solver_gives_the_same_distance() -> None:
    features, reference = some_features(120, 10, 1), gaussian_of(some_features(300, 10, 2, scale=1.3))
    ours = frechet_distance_infinity(features, reference, seed=5)
    theirs = frechet_distance_infinity(features, reference, seed=5, distance=frechet_distance_reference)
    assert ours.value == pytest.approx(theirs.value, rel=1e-9)
    assert ours.standard_error == pytest.approx(theirs.standard_error, rel=1e-6)


@pytest.mark.parametrize(("images", "splits"), [(200, 10), (203, 7), (60, 3)])
def test_sums_of_splits_give_the_score_of_every_subset(images: int, splits: int) -> None:
    facts = some_facts(images=images, splits=splits)
    logits = some_logits(images, 7, 1)
    statistics = statistics_of(facts, some_features(images, 12, 1), logits)
    probabilities, _ = probabilities_and_entropies(logits.astype(np.float64))
    expected = inception_score_infinity_reference(probabilities, image_splits(facts))
    found = inception_score_infinity(statistics)
    assert found.value == pytest.approx(expected.value, abs=1e-6)
    assert found.standard_error == pytest.approx(expected.standard_error, abs=1e-6)


def test_a_score_of_few_images_becomes_that_of_many() -> None:
    def statistics(images: int, seed: int) -> object:
        facts = some_facts(images=images, features=1, classes=30, kept=0)
        return statistics_of(facts, some_features(images, 1, 1), some_logits(images, 30, seed))

    many = inception_score(statistics(60_000, 1)).unsplit  # type: ignore[arg-type]
    few = [statistics(600, 10 + seed) for seed in range(80)]
    plain = np.mean([inception_score(one).unsplit for one in few])  # type: ignore[arg-type]
    extrapolated = np.mean([inception_score_infinity(one).value for one in few])  # type: ignore[arg-type]
    assert abs(extrapolated - many) < abs(plain - many) / 2


def test_too_little_is_refused() -> None:
    with pytest.raises(ScoringError, match="19 images will not do: take 20 or more"):
        frechet_distance_infinity(some_features(19, 4, 1), gaussian_of(some_features(50, 4, 2)), seed=0)
    facts = some_facts(images=20, splits=2, kept=0)
    with pytest.raises(ScoringError, match="2 of 2 have images: use more splits"):
        inception_score_infinity(statistics_of(facts, some_features(20, 12, 1), some_logits(20, 7, 1)))
