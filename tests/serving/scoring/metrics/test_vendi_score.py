"""The Vendi score: how many different images there are."""

from __future__ import annotations

import numpy as np
import pytest

from igan_zoo.errors import ScoringError
from igan_zoo.serving.scoring.metrics.vendi_score import vendi_score, vendi_score_reference
from tests.serving.scoring.examples import some_features


@pytest.mark.parametrize(("count", "size"), [(50, 8), (8, 50), (20, 20), (1, 3)])
def test_both_products_give_the_score_of_the_singular_values(count: int, size: int) -> None:
    features = some_features(count, size, 1) + np.float32(0.01)
    assert vendi_score(features) == pytest.approx(vendi_score_reference(features), rel=1e-9)


def test_it_counts_different_images() -> None:
    kinds = np.eye(5, 9, dtype=np.float32)
    assert vendi_score(kinds) == pytest.approx(5)
    assert vendi_score(np.repeat(kinds, 4, axis=0) * np.arange(1, 21, dtype=np.float32)[:, None]) == pytest.approx(5)
    assert vendi_score(np.ones((7, 3), np.float32)) == pytest.approx(1)


def test_images_without_a_direction_are_refused() -> None:
    with pytest.raises(ScoringError, match=r"^The features of 1 image are all 0"):
        vendi_score(np.array([[1, 0], [0, 0]], np.float32))
