"""The generator's average: what is drawn and exported, and no part of the game itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from igan_zoo.errors import SpecificationError
from igan_zoo.export.trained import networks_of_run
from igan_zoo.training.games.alternating import AlternatingGame
from igan_zoo.training.games.game import Batches
from igan_zoo.training.recipes.catalogue import find_recipe
from igan_zoo.training.recipes.settings import customize
from igan_zoo.training.runs.directory import Run
from tests.training.test_experiments import arguments

MBD = find_recipe("cifar10-mbd-equilibrium")
SMALL = ["network_width=0.0625", "batch_size=4"]


def played(rate: str) -> tuple[AlternatingGame, list[dict[str, torch.Tensor]]]:
    """A game after three steps, and the generator's parameters before each of them."""
    torch.manual_seed(1)
    game = AlternatingGame(customize(MBD, [*SMALL, f"generator_averaging_rate={rate}"]), 10)
    assert game.generator is not None
    game.initialize(torch.randn(8, 3, 32, 32))
    past = []
    for step in range(3):
        past.append({name: parameter.detach().clone() for name, parameter in game.generator.named_parameters()})
        torch.manual_seed(step)
        images = torch.randn(4, 3, 32, 32)
        game.step(Batches(labelled=(images, torch.arange(4)), unlabelled=(images, None)))
    return game, past


def test_it_is_the_exponential_average_of_the_values_before_each_step() -> None:
    game, past = played("0.5")
    weights = [0.125, 0.25, 0.5]
    for name, average in game.averaged("generator").items():
        expected = sum(weight * values[name] for weight, values in zip(weights, past, strict=True)) / sum(weights)
        assert_close(average, expected, msg=name)


def test_it_is_what_is_drawn_and_changes_no_step() -> None:
    averaged, _ = played("0.5")
    plain, _ = played("none")
    assert averaged.generator is not None
    assert plain.generator is not None
    for name, parameter in plain.generator.named_parameters():
        assert_close(averaged.generator.get_parameter(name), parameter, rtol=0, atol=0, msg=name)
    drawn = averaged.samples(4)
    assert not np.array_equal(drawn, plain.samples(4))
    averaged.generator.load_state_dict(averaged.averaged("generator"), strict=False)
    del averaged.averages["generator"]
    np.testing.assert_array_equal(drawn, averaged.samples(4))


def test_it_is_what_is_exported(
    sources: dict[str, Path], igan_zoo: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    rates = {"itself": "none", "average": "0.01"}
    generators = {}
    for name, rate in rates.items():
        command = arguments(MBD, sources, tmp_path / name, f"generator_averaging_rate={rate}")
        code, _, errors = igan_zoo(*command)
        assert code == 0, errors
        generators[name] = networks_of_run(Run(tmp_path / name)).generator
        assert generators[name] is not None
    z = torch.rand(2, 100)
    assert not torch.equal(generators["itself"](z), generators["average"](z))


def test_it_needs_a_generator() -> None:
    for recipe in ("cifar10-ssl-consistency", "imagenet128"):
        with pytest.raises(SpecificationError, match="generator_averaging_rate needs a generator"):
            customize(find_recipe(recipe), ["generator_averaging_rate=0.001"])
