"""Precision and recall: which is which, the blocks against all distances at once, and copies of images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igan_zoo.errors import ScoringError
from igan_zoo.serving.scoring.metrics.precision_recall import precision_recall, precision_recall_reference
from tests.serving.scoring.examples import some_features


@settings(max_examples=50, deadline=None)
@given(
    made=st.integers(5, 60),
    true=st.integers(5, 60),
    size=st.integers(1, 8),
    block=st.integers(1, 70),
    neighbours=st.integers(1, 4),
    seed=st.integers(0, 99),
    coarse=st.booleans(),
)
def test_blocks_equal_all_distances_at_once_exactly(
    made: int, true: int, size: int, block: int, neighbours: int, seed: int, coarse: bool
) -> None:
    random = np.random.default_rng(seed)
    sets = [random.normal(size=(count, size)).astype(np.float32) for count in (made, true)]
    if coarse:  # many equal distances
        sets = [np.round(features) for features in sets]
    fast = precision_recall(*sets, neighbours=neighbours, block=block)
    assert fast == precision_recall_reference(*sets, neighbours=neighbours)


def test_precision_and_recall_are_not_swapped() -> None:
    """A generator that makes one of two kinds of image well has precision 1 and recall 1/2."""
    random = np.random.default_rng(0)
    first, second = random.normal(size=(200, 4)) * 0.1, random.normal(size=(200, 4)) * 0.1 + 10
    real = np.concatenate([first, second]).astype(np.float32)
    collapsed = (random.normal(size=(400, 4)) * 0.1).astype(np.float32)
    result = precision_recall(collapsed, real)
    assert result.precision > 0.9
    assert 0.4 < result.recall <= 0.5
    # One that makes the real images and as much of something else has it the other way round.
    strange = precision_recall(np.concatenate([real, real + np.float32(100)]), real)
    assert strange.precision == 0.5
    assert strange.recall == 1


def test_copies_of_an_image_lie_in_their_ball_of_radius_zero() -> None:
    features = np.repeat(some_features(3, 64, 1, scale=7.3), 5, axis=0)
    for block in (4, 100):
        result = precision_recall(features, features[::-1], block=block)
        assert (result.precision, result.recall) == (1, 1)


def test_standard_errors_are_binomial() -> None:
    result = precision_recall(some_features(80, 4, 1), some_features(100, 4, 2, scale=2))
    assert 0 < result.recall < 1
    assert result.recall_standard_error == pytest.approx(np.sqrt(result.recall * (1 - result.recall) / 100))
    assert result.precision_standard_error == pytest.approx(np.sqrt(result.precision * (1 - result.precision) / 80))


def test_impossible_sets_are_refused() -> None:
    features = some_features(10, 4, 1)
    for made, real in ((features[:3], features), (features, features[:3])):
        with pytest.raises(ScoringError, match="features of only 3 images"):
            precision_recall(made, real)
    with pytest.raises(ScoringError, match="4 and 3 features"):
        precision_recall(features, features[:, :3])
    for value in (np.nan, 1e6):
        with pytest.raises(ScoringError, match="too large"):
            precision_recall(features, np.full_like(features, value))
