"""The Inception score of exact sums against its definition, and whether its error bars are true."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from igan_zoo.errors import ScoringError
from igan_zoo.serving.scoring.metrics.inception_score import InceptionScore, inception_score, inception_score_reference
from igan_zoo.serving.scoring.statistics import Facts, merge
from tests.serving.scoring.examples import some_facts, some_features, some_logits, statistics_of
from tests.serving.scoring.test_statistics import WHOLE, shards


def score_of(facts: Facts, logits: NDArray[np.float32]) -> InceptionScore:
    return inception_score(statistics_of(facts, some_features(facts.images, 1, 0), logits, sizes=(4096,)))


@settings(max_examples=40, deadline=None)
@given(
    images=st.integers(10, 300),
    classes=st.integers(2, 60),
    splits=st.integers(1, 10),
    scale=st.floats(0, 40),
    seed=st.integers(0, 9),
)
def test_the_score_of_sums_equals_the_definition(
    images: int, classes: int, splits: int, scale: float, seed: int
) -> None:
    facts = some_facts(images=images, features=1, classes=classes, splits=splits, kept=0, seed=seed)
    logits = (some_logits(images, classes, seed) * scale).astype(np.float32)
    fast, plain = score_of(facts, logits), inception_score_reference(facts, logits)
    # Grid of 2⁻⁴⁰.
    for field in ("mean", "unsplit", "deviation", "splits"):
        np.testing.assert_allclose(getattr(fast, field), getattr(plain, field), rtol=1e-9, atol=1e-9)
    # The bias and the error bars come from the grid of 2⁻²⁰.
    assert fast.corrected == pytest.approx(plain.corrected, rel=1e-4)
    assert fast.standard_error == pytest.approx(plain.standard_error, rel=1e-2, abs=1e-4 * plain.unsplit)


def test_a_thousand_classes_of_which_most_are_unlikely_lose_nothing_to_the_grid() -> None:
    facts = some_facts(images=500, features=1, classes=1008, kept=0)
    logits = some_logits(500, 1008, 3) * np.float32(1.5)
    fast, plain = score_of(facts, logits), inception_score_reference(facts, logits)
    assert fast.mean == pytest.approx(plain.mean, rel=1e-9)
    assert fast.standard_error == pytest.approx(plain.standard_error, rel=1e-3)


def test_images_that_are_all_alike_score_one() -> None:
    facts = some_facts(images=40, features=1, kept=0)
    result = score_of(facts, np.tile(some_logits(1, 7, 1), (40, 1)))
    assert result.mean == pytest.approx(1, abs=1e-9)
    assert result.deviation == pytest.approx(0, abs=1e-9)
    # Of an image there is one answer only; the rest is the coarse grid.
    assert result.standard_error < 1e-3


def test_certain_and_even_classes_score_their_number() -> None:
    facts = some_facts(images=70, features=1, splits=1, kept=0)
    certain = (1000 * np.eye(7)[np.arange(70) % 7]).astype(np.float32)
    result = score_of(facts, certain)
    assert result.mean == pytest.approx(7, rel=1e-9)
    assert result.unsplit == pytest.approx(7, rel=1e-9)


def test_a_class_that_never_occurs_gives_no_nan() -> None:
    logits = some_logits(40, 7, 1)
    logits[:, 4] = -1e4
    assert np.isfinite(np.concatenate([np.ravel(part) for part in astuple(score_of(_forty(), logits))])).all()


def _forty() -> Facts:
    return some_facts(images=40, features=1, kept=0)


@pytest.mark.parametrize("count", [3, 7])
def test_merged_shards_give_the_same_number_to_the_last_bit(count: int) -> None:
    assert inception_score(merge(shards(count))) == inception_score(WHOLE)


def test_images_in_the_order_of_their_classes_are_shuffled_before_they_are_split() -> None:
    facts = some_facts(images=1000, features=1, classes=10, kept=0)
    ordered = (12 * np.eye(10)[np.arange(1000) // 100]).astype(np.float32)
    # Each unshuffled split would hold one class and score 1.
    assert score_of(facts, ordered).mean > 9


def test_a_part_of_the_images_has_no_score() -> None:
    with pytest.raises(ScoringError, match="missing"):
        inception_score(shards(3)[0])


def test_the_error_bars_cover_the_truth_as_often_as_they_say() -> None:
    """Samples of a population of 2,000 known images, drawn with replacement: its score is the truth.

    Nominal coverage 0.95; that of 150 samples has a standard error of 0.02, and 3 images a class are few for a
    correction of first order.
    """
    random = np.random.default_rng(4)
    classes = random.integers(0, 160, 2000)
    population = (random.normal(size=(2000, 160)) + 6 * np.eye(160)[classes]).astype(np.float32)
    truth = inception_score_reference(some_facts(images=2000, classes=160), population).unsplit
    facts = some_facts(images=500, features=1, classes=160, kept=0)
    results = [score_of(facts, population[random.integers(0, 2000, 500)]) for _ in range(150)]
    reach = 1.96 * np.array([result.standard_error for result in results])

    def coverage(name: str) -> float:
        return float((np.abs(np.array([getattr(result, name) for result in results]) - truth) <= reach).mean())

    assert 0.87 <= coverage("corrected") <= 0.99
    # The bias alone spoils it, more so in splits.
    assert coverage("unsplit") < 0.8
    assert coverage("mean") < 0.05
