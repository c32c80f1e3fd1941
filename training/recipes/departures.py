"""What a recipe changes of the paper's experiment that it is named after."""

from __future__ import annotations

import msgspec

from igan_zoo.training.recipes.catalogue import RECIPES, find_recipe
from igan_zoo.training.recipes.settings import Recipe

EXPERIMENTS = ("mnist-ssl", "mnist-mbd", "cifar10-ssl", "cifar10-mbd", "svhn-ssl", "svhn-mbd", "imagenet128")
# What tells two runs of one protocol apart, and what is no part of it.
_LEFT_OUT = ("seed", "data_seed", "name", "labels", "validation_images")


def experiment_of(recipe: Recipe) -> Recipe | None:
    """Returns the paper's recipe that one departs from, itself if it does not; None for ``custom``, which has none.

    The names say it: ``cifar10-ssl-half-width`` departs from ``cifar10-ssl``. The rows of Table 3 are the paper's own.
    """
    if recipe.name.startswith("cifar10-table3-"):
        return find_recipe(recipe.name)
    return next((RECIPES[name] for name in EXPERIMENTS if f"{recipe.name}-".startswith(f"{name}-")), None)


def departures(recipe: Recipe, from_recipe: Recipe) -> tuple[str, ...]:
    """Returns the settings that differ, but for seeds and names, as ``key=value``, the other value in parentheses."""
    first, second = msgspec.structs.asdict(recipe), msgspec.structs.asdict(from_recipe)
    return tuple(
        f"{key}={_shown(value)} ({_shown(second[key])})"
        for key, value in first.items()
        if value != second[key] and key not in _LEFT_OUT
    )


def _shown(value: object) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
