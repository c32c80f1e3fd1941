"""How long the games of a run on features take on this machine."""

from __future__ import annotations

import time

import torch

from igan_zoo.training.features.game import GameSettings, play
from igan_zoo.training.features.settings import FeatureRecipe
from igan_zoo.training.precision import denormals_as_zero, torch_threads

_STEPS = 20
# Points to time with; a step sees only a hundred.
_POINTS = 500


def seconds_of_games(recipe: FeatureRecipe, photos: int, width: int, classes: int) -> float:
    """Estimates the seconds that the games of ``recipe`` take with one thread, from a few steps on random features.

    ``photos`` have ``width`` features each.
    """
    dimensions = min(recipe.dimensions, photos, width)
    with torch.random.fork_rng(devices=[]), torch_threads(1), denormals_as_zero():
        torch.manual_seed(0)
        points = torch.randn(min(photos, _POINTS), dimensions)
        labels = torch.arange(min(classes, len(points)))
        targets = torch.full((len(points), classes), 1 / classes)
        began = time.perf_counter()
        play(points, labels, labels, targets, GameSettings(_STEPS), recipe.seed)
        return (time.perf_counter() - began) / _STEPS * recipe.steps * recipe.members
