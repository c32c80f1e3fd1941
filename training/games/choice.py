"""Which game a recipe plays."""

from __future__ import annotations

from igan_zoo.training.distributed import World
from igan_zoo.training.games.alternating import AlternatingGame
from igan_zoo.training.games.game import Game
from igan_zoo.training.games.simultaneous import SimultaneousGame
from igan_zoo.training.recipes.settings import Recipe


def new_game(recipe: Recipe, classes: int, *, device: str = "cpu", world: World | None = None) -> Game:
    """Returns the game of ``recipe`` for data of ``classes`` classes, its parameters drawn from torch's stream."""
    kind = SimultaneousGame if recipe.simultaneous else AlternatingGame
    return kind(recipe, classes, device=device, world=world)
