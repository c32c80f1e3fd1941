"""Counts as people write them."""

from __future__ import annotations

import pytest

from igan_zoo.counts import counted


@pytest.mark.parametrize(
    ("count", "noun", "said"),
    [
        (0, "image", "0 images"),
        (1, "image", "1 image"),
        (2, "class", "2 classes"),
        (1, "class", "1 class"),
        (1000, "test image", "1,000 test images"),
        (3, "batch", "3 batches"),
    ],
)
def test_a_noun_agrees_with_its_count(count: int, noun: str, said: str) -> None:
    assert counted(count, noun) == said
