"""Contract 3: latents are addressed, not drawn."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igan_zoo.latents import Distribution, latents

DISTRIBUTIONS = get_args(Distribution)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 9), seed=st.integers(0, 2**64 - 1), start=st.integers(0, 10**12), split=st.integers(0, 7))
def test_any_range_equals_the_same_range_of_a_longer_one(
    distribution: Distribution, size: int, seed: int, start: int, split: int
) -> None:
    whole = latents(size, distribution, seed=seed, start=start, count=7)
    parts = [
        latents(size, distribution, seed=seed, start=start, count=split),
        latents(size, distribution, seed=seed, start=start + split, count=7 - split),
    ]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_the_stream_is_fixed_for_ever() -> None:
    """Philox 4x64-10 with key 7: published images must not change with a version of numpy."""
    expected = np.random.Philox(key=7, counter=2).random_raw(4)[:3] >> np.uint64(40)
    np.testing.assert_array_equal(
        latents(3, "uniform", seed=7, start=2, count=1)[0], expected.astype(np.float32) / 2**24
    )
    np.testing.assert_array_equal(
        (latents(4, "uniform", seed=0, start=0, count=1)[0] * 2**24).astype(int), [193722, 4052523, 1869415, 9469306]
    )


@pytest.mark.parametrize(
    ("distribution", "mean", "variance", "low", "high"),
    [("uniform", 0.5, 1 / 12, 0.0, 1.0), ("symmetric-uniform", 0.0, 1 / 3, -1.0, 1.0), ("normal", 0.0, 1.0, -8.0, 8.0)],
)
def test_moments_and_range(distribution: Distribution, mean: float, variance: float, low: float, high: float) -> None:
    z = latents(101, distribution, seed=3, start=0, count=2000)
    assert z.dtype == np.float32
    assert z.shape == (2000, 101)
    assert low <= z.min()
    assert z.max() < high
    # Five standard errors of 202,000 draws.
    assert abs(z.mean() - mean) < 5 * np.sqrt(variance / z.size)
    assert abs(z.var() - variance) < 0.02 * variance
    correlation = np.corrcoef(z[:-1, 0], z[1:, 0])[0, 1]
    assert abs(correlation) < 5 / np.sqrt(2000)


@pytest.mark.parametrize(("seed", "start", "count"), [(-1, 0, 1), (2**64, 0, 1), (0, -1, 1), (0, 0, -1)])
def test_impossible_addresses_are_refused(seed: int, start: int, count: int) -> None:
    with pytest.raises(ValueError, match=r"must"):
        latents(2, "uniform", seed=seed, start=start, count=count)
