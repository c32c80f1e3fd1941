"""Features in three clouds, a class each."""

from __future__ import annotations

import numpy as np

from igan_zoo.training.features.runs import FeatureData

CLASSES = ("cat", "dog", "emu")


def clouds(photos: int = 240, width: int = 12, spread: float = 0.5) -> FeatureData:
    generator = np.random.default_rng(0)
    labels = generator.permutation(np.arange(photos) % 3)
    centers = generator.normal(size=(3, width))
    features = centers[labels] + spread * generator.normal(size=(photos, width))
    return FeatureData(features.astype(np.float32), labels.astype(np.int64), CLASSES)
