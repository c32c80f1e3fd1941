"""Features and logits of made-up images, and the statistics of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from igan_zoo.serving.scoring.accumulator import Accumulator
from igan_zoo.serving.scoring.statistics import Facts, Statistics

Features = NDArray[np.float32]


def some_facts(**changes: Any) -> Facts:
    numbers: dict[str, Any] = {"images": 200, "features": 12, "classes": 7, "kept": 40}
    names = {"scorer": "toy", "scorer_sha256": "a" * 64, "resize": "tf1-bilinear", "source": "folder"}
    return Facts(**{**names, **numbers, **changes})


def some_features(count: int, size: int, seed: int, *, scale: float = 1.0) -> Features:
    """Correlated, not negative and sparse, as after a ReLU and an average pool."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(0).normal(size=(size, size)) / np.sqrt(size)
    return (scale * np.maximum(random.normal(size=(count, size)) @ mixing + 0.3, 0)).astype(np.float32)


def some_logits(count: int, classes: int, seed: int) -> Features:
    return (np.random.default_rng(seed).normal(size=(count, classes)) * 3).astype(np.float32)


def batches(images: NDArray[np.int64], sizes: Iterable[int]) -> Iterator[NDArray[np.int64]]:
    """Cuts ``images`` into batches of the sizes given, in turn."""
    start, sizes = 0, list(sizes)
    while start < len(images):
        for size in sizes:
            if start < len(images):
                yield images[start : start + size]
            start += size


def statistics_of(
    facts: Facts,
    features: Features,
    logits: Features,
    images: NDArray[np.int64] | None = None,
    *,
    sizes: Iterable[int] = (64,),
    shard: tuple[int, int] | None = None,
) -> Statistics:
    """Accumulates ``images``, else all, in batches of the sizes given."""
    accumulator = Accumulator(facts, shard=shard)
    for chosen in batches(np.arange(facts.images) if images is None else images, sizes):
        accumulator.add(chosen, features[chosen], logits[chosen])
    return accumulator.statistics()
