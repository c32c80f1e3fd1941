"""Sums of products of whole numbers are exact, or refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igan_zoo.errors import ScoringError
from igan_zoo.serving.scoring.metrics.moments import (
    LARGEST_FEATURE,
    ExactMoments,
    exact_moments_reference,
    feature_steps,
)


@settings(max_examples=60, deadline=None)
@given(bits=st.integers(0, 26), count=st.integers(1, 700), size=st.integers(1, 5), seed=st.integers(0, 99))
def test_the_fast_sum_equals_the_one_in_unbounded_integers(bits: int, count: int, size: int, seed: int) -> None:
    rows = np.random.default_rng(seed).integers(-(2**bits), 2**bits, (count, size), endpoint=True).astype(float)
    moments = ExactMoments(size)
    for part in np.array_split(rows, 3):
        moments.add(part)
    np.testing.assert_array_equal(moments.total(), exact_moments_reference(rows))


def test_a_plain_float64_sum_would_not_be_exact() -> None:
    """The same numbers without chunks: what the class is for."""
    rows = np.full((1000, 1), 2.0**26 - 1)
    moments = ExactMoments(1)
    moments.add(rows)
    assert moments.total()[0, 0] == exact_moments_reference(rows)[0, 0]
    assert int((rows.T @ rows)[0, 0]) != moments.total()[0, 0]


def test_sums_that_would_leave_int64_are_refused() -> None:
    moments = ExactMoments(1, np.array([[2**62 - 2]]))
    moments.add(np.array([[1.0]]))
    moments.total()
    moments.add(np.array([[1.0]]))
    with pytest.raises(ScoringError, match="too large for exact sums"):
        moments.total()


@given(value=st.floats(-LARGEST_FEATURE, LARGEST_FEATURE, width=32))
def test_features_are_rounded_to_the_nearest_step(value: float) -> None:
    (steps,) = feature_steps(np.array([value], np.float32))
    assert steps == int(steps)
    assert abs(steps / 2**14 - value) <= 2**-15
