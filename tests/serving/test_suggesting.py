"""Picks are uncertain and unlike each other; suspicious labels are those that are contradicted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from igan_zoo.serving.suggesting import pick


def probabilities(*firsts: float) -> NDArray[np.float32]:
    return np.array([(first, 1 - first) for first in firsts], np.float32)


def test_the_most_uncertain_photo_is_first_and_its_duplicate_is_not_second() -> None:
    shares = probabilities(0.9, 0.52, 0.52, 0.7, 0.6)
    points = np.array([[0, 0], [3, 3], [3, 3], [1, 0], [3, 2]], np.float32)
    picked = pick(shares, points, 5).tolist()
    assert picked[:2] == [1, 3]
    assert picked[-1] == 2
    assert sorted(picked) == list(range(5))


def test_a_distant_photo_without_a_doubt_is_not_picked() -> None:
    shares = probabilities(0.5, 0.55, 1.0)
    points = np.array([[0.0], [1.0], [1000.0]], np.float32)
    assert pick(shares, points, 2).tolist() == [0, 1]


def test_where_all_are_alike_the_margin_decides_and_none_comes_twice() -> None:
    shares = probabilities(0.8, 0.6, 0.7, 0.6)
    assert pick(shares, np.zeros((4, 3), np.float32), 10).tolist() == [1, 3, 2, 0]


def test_more_classes_than_two_are_compared_by_their_two_largest() -> None:
    shares = np.array([[0.5, 0.1, 0.4], [0.45, 0.44, 0.11], [0.8, 0.1, 0.1]], np.float32)
    assert pick(shares, np.zeros((3, 1), np.float32), 1).tolist() == [1]


def test_picks_are_the_same_in_every_call_and_cover_what_uncertainty_alone_would_not() -> None:
    generator = np.random.default_rng(0)
    # A burst of forty photos of one scene, the most uncertain of all, among others.
    points = np.concatenate([generator.normal(0, 0.01, (40, 4)), generator.normal(0, 3, (60, 4))]).astype(np.float32)
    shares = probabilities(*generator.uniform(0.5, 0.52, 40), *generator.uniform(0.55, 0.9, 60))
    picked = pick(shares, points, 10)
    np.testing.assert_array_equal(picked, pick(shares, points, 10))
    assert (picked < 40).sum() == 1
