"""The kernel distance: its definition, its draws, its error bars and refusals."""

from __future__ import annotations

import numpy as np
import pytest

from igan_zoo.errors import ScoringError
from igan_zoo.serving.scoring.metrics.kernel_distance import Kernel, discrepancy_reference, kernel_distance
from igan_zoo.serving.scoring.statistics import merge
from tests.serving.scoring.examples import some_features
from tests.serving.scoring.test_statistics import WHOLE, shards

ONE, OTHER = some_features(60, 10, 1), some_features(50, 10, 2, scale=1.3)


@pytest.mark.parametrize("kernel", ["polynomial", "rbf"])
def test_the_distance_is_the_mean_of_the_definition_over_subsets_drawn_in_turn(kernel: Kernel) -> None:
    result = kernel_distance(ONE, OTHER, subsets=4, subset_size=9, seed=5, kernel=kernel)
    random = np.random.RandomState(5)
    plain = [
        discrepancy_reference(
            ONE[random.choice(60, 9, replace=False)].astype(np.float64),
            OTHER[random.choice(50, 9, replace=False)].astype(np.float64),
            kernel,
        )
        for _ in range(4)
    ]
    assert result.value == pytest.approx(np.mean(plain), rel=1e-12, abs=1e-12)
    assert result.deviation == pytest.approx(np.std(plain), rel=1e-10)


def test_equal_distributions_are_at_distance_zero_on_average() -> None:
    results = [
        kernel_distance(some_features(60, 10, 2 * seed), some_features(60, 10, 2 * seed + 1), subsets=3, subset_size=30)
        for seed in range(100)
    ]
    values = np.array([result.value for result in results])
    assert (values < 0).any()
    # Three standard errors of the mean of 100.
    assert abs(values.mean()) < 3 * values.std() / 10


def test_the_error_bars_cover_the_truth_as_often_as_they_say() -> None:
    """Nominal coverage 0.95; over 200 pairs of sets its standard error is 0.015."""
    truth = kernel_distance(
        some_features(6000, 30, 7), some_features(6000, 30, 8, scale=1.3), subsets=10, subset_size=1500
    ).value
    for subset_size in (30, 100):
        inside = []
        for seed in range(200):
            sets = some_features(100, 30, 1000 + seed), some_features(100, 30, 5000 + seed, scale=1.3)
            result = kernel_distance(*sets, subsets=10, subset_size=subset_size)
            inside.append(abs(result.value - truth) <= 1.96 * result.standard_error)
        assert 0.9 <= np.mean(inside) <= 0.99


def test_the_same_seed_draws_the_same_subsets() -> None:
    drawn = [kernel_distance(ONE, OTHER, subsets=3, subset_size=9, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_merged_shards_give_the_same_distance_to_the_last_bit() -> None:
    one, other = (
        kernel_distance(part.kept_features, some_features(30, 12, 3), subset_size=20)
        for part in (merge(shards(7)), WHOLE)
    )
    assert one == other


@pytest.mark.parametrize(
    ("size", "subsets", "subset_size", "message"),
    [
        (10, 5, 51, "has the features of only 50"),
        (10, 5, 1, "subsets of 1"),
        (10, 0, 5, "0 subsets"),
        (9, 5, 5, "10 and 9"),
    ],
)
def test_impossible_distances_are_refused(size: int, subsets: int, subset_size: int, message: str) -> None:
    with pytest.raises(ScoringError, match=message):
        kernel_distance(ONE, OTHER[:, :size], subsets=subsets, subset_size=subset_size)


def test_where_a_subset_is_the_whole_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from igan_zoo.serving.scoring.metrics import kernel_distance as module

    computed = []
    plain = module._discrepancy
    monkeypatch.setattr(module, "_discrepancy", lambda *sets: computed.append(sets) or plain(*sets))
    result = kernel_distance(ONE[:50], OTHER, subset_size=50)
    assert len(computed) == 1
    assert result.deviation == 0
    assert result.standard_error > 0
    expected = discrepancy_reference(ONE[:50].astype(np.float64), OTHER.astype(np.float64))
    assert result.value == pytest.approx(expected, rel=1e-12)
