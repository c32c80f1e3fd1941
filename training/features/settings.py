"""How long and how large a run on features is: fixed rules by the numbers of photos, labels and classes."""

from __future__ import annotations

import msgspec

from igan_zoo.training.settings import Count, Index, Labels, Rate, Weight


class FeatureRecipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that a run on features depends on, beside the photos, the encoder and the code."""

    name: str = "custom-features"
    labels: Labels = "all"
    validation_images: Index = 1000  # labeled photos whose labels only the logged errors and the choice see, at most
    members: Count = 5  # games of as many seeds, whose mean answers
    seed: Index = 1
    steps: Count | None = None  # of each game; by the number of photos where not given
    dimensions: Count = 128  # principal components that the players see
    strength: Weight = 30.0  # of logistic regression: scikit-learn's C
    learning_rate: Rate = 0.003
    averaging_rate: Rate = 0.001
    unlabeled_weight: Weight = 1.0
    propagation_weight: Weight = 1.0

    def steps_for(self, photos: int) -> int:
        """Returns the steps of a game: 1,000 for a small folder, 2,000 from 50,000 photos on."""
        return self.steps or min(2000, max(1000, photos // 25))
