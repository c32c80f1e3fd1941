"""How long and how large a run on features is."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from igan_zoo.training.recipes.settings import Count, Index, Labels, Rate, Weight

Keep = Literal["game", "linear", "better"]


class FeatureRecipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that a run on features depends on, apart from the photos, the encoder and the code."""

    name: str = "custom-features"
    labels: Labels = "all"
    validation_images: Index = 1000  # labeled photos whose labels only the logged errors and the choice see, at most
    members: Count = 5  # games of as many seeds, whose mean answers
    seed: Index = 1
    steps: Count = 1000  # of each game
    dimensions: Count = 256  # principal components that the players see
    strength: Annotated[float, Meta(gt=0)] = 30.0  # of logistic regression: scikit-learn's C
    learning_rate: Rate = 0.003
    averaging_rate: Rate = 0.001
    unlabeled_weight: Weight = 1.0
    propagation_weight: Weight = 1.0
