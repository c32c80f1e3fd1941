"""The recipes by name, also by the names that they had before."""

from __future__ import annotations

from igan_zoo.errors import UnknownNameError
from igan_zoo.names import nearest
from igan_zoo.training.recipes import experiments
from igan_zoo.training.recipes.settings import Recipe

# In the order in which they are written down.
RECIPES = {recipe.name: recipe for recipe in vars(experiments).values() if isinstance(recipe, Recipe)}

# What recipes were called before, as older runs and model directories name them.
_FORMER_NAMES = {
    "mnist-ssl-fast": "mnist-ssl-softplus",
    "mnist-ssl-warm": "mnist-ssl-softplus-then-sigmoid",
    "mnist-mbd-small": "mnist-mbd-equilibrium",
    "cifar10-ssl-small": "cifar10-ssl-half-width",
    "cifar10-ssl-fast": "cifar10-ssl-labels-first",
    "cifar10-mbd-small": "cifar10-mbd-equilibrium",
    "svhn-ssl-small": "svhn-ssl-half-width",
    "svhn-mbd-small": "svhn-mbd-half-width",
    "imagenet128-small": "imagenet128-half-width",
    "imagenet128-tiny": "imagenet128-ten-classes",
}


def find_recipe(name: str) -> Recipe:
    """Returns the recipe of that name, or of the name that it had before.

    Raises:
        UnknownNameError: there is none; the message names the nearest.
    """
    name = _FORMER_NAMES.get(name, name)
    if name not in RECIPES:
        raise UnknownNameError(f"There is no recipe {name!r}; {nearest(name, RECIPES)}")
    return RECIPES[name]
