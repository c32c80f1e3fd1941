"""What a recipe changes of the paper's experiment."""

from __future__ import annotations

import pytest

from igan_zoo.training.recipes.catalogue import RECIPES, find_recipe
from igan_zoo.training.recipes.departures import EXPERIMENTS, departures, experiment_of
from igan_zoo.training.recipes.settings import customize


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_but_that_of_ones_own_images_is_after_an_experiment_of_the_paper(name: str) -> None:
    experiment = experiment_of(RECIPES[name])
    if name == "custom":
        assert experiment is None
        return
    assert experiment is not None
    assert name.startswith(experiment.name)
    own = name in EXPERIMENTS or name.startswith("cifar10-table3")
    assert bool(departures(RECIPES[name], experiment)) != own


def test_departures_name_the_settings_and_the_papers_values() -> None:
    recipe = customize(find_recipe("svhn-mbd-half-width"), ["seed=3", "labels=500", "decay_from=1"])
    assert departures(recipe, find_recipe("svhn-mbd")) == ("network_width=0.5 (1)", "decay_from=1 (0.666667)")
    ten = departures(find_recipe("imagenet128-ten-classes"), find_recipe("imagenet128"))
    assert ten[0] == "dataset=frgfm/imagenette (ILSVRC/imagenet-1k)"
