"""Pictures drawn without matplotlib."""

from __future__ import annotations

import numpy as np
import pytest

from igan_zoo.models.charts import captioned, histogram

WORDS = {"title": "title", "label": "nats", "from_label": "best"}


def colours(picture: np.ndarray) -> dict[tuple[int, ...], int]:
    found, counts = np.unique(picture.reshape(-1, 3), axis=0, return_counts=True)  # (pixels, 3)
    return {tuple(colour.tolist()): int(count) for colour, count in zip(found, counts, strict=True)}


def test_bars_have_the_area_of_their_counts_and_the_best_another_colour() -> None:
    """No text in the colours of the bars is as large as a bar."""
    values = np.repeat([0.0, 1.0, 2.0], [30, 60, 30])
    seen = colours(histogram(values, from_value=1.5, bins=3, **WORDS))
    blue, orange = seen[(138, 164, 200)], seen[(209, 96, 61)]
    assert blue / orange == pytest.approx(3, rel=0.05)


@pytest.mark.parametrize("values", [[1.0, 1.0], [0.0], [-1e9, 1e9]])
def test_all_values_alike_or_far_apart_are_drawn(values: list[float]) -> None:
    picture = histogram(np.array(values), from_value=max(values), **WORDS)
    assert picture.shape == (420, 800, 3)
    assert (209, 96, 61) in colours(picture)


def test_the_same_numbers_give_the_same_picture() -> None:
    values = np.random.default_rng(0).normal(size=1000)
    pictures = [histogram(values, from_value=2.0, **WORDS) for _ in range(2)]
    np.testing.assert_array_equal(*pictures)


def test_captioned_pictures_stand_below_each_other_unchanged() -> None:
    one, other = np.full((10, 30, 3), 7, np.uint8), np.full((5, 40, 3), 9, np.uint8)
    seen = colours(captioned([("a", one), ("b", other)]))
    assert seen[(7, 7, 7)] >= 300
    assert seen[(9, 9, 9)] >= 200
