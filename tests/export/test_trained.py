"""Weights files of models."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, safe_open, save_file

from igan_zoo.training.games.choice import new_game
from igan_zoo.training.networks.multi_scale import MultiScaleGenerator
from igan_zoo.training.recipes.experiments import IMAGENET128
from igan_zoo.training.recipes.settings import customize
from igan_zoo.training.weights import TrainedNetworks, load_networks, save_networks


def test_a_file_of_an_earlier_version_loads_to_the_same_function(tmp_path: Path) -> None:
    """The first layer's bias was not there, and virtual batch normalization kept the mean square."""
    recipe = customize(IMAGENET128, ["network_width=0.0625", "height=32", "width=32", "batch_size=2"])
    game = new_game(recipe, 3)
    assert isinstance(game.generator, MultiScaleGenerator)
    game.generator.measure()
    path = tmp_path / "model.safetensors"
    players = game.generator, (game.discriminator,)
    networks = TrainedNetworks(recipe, ("a", "b", "c"), game.latent_size, *players, recipe)
    save_networks(path, networks)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    del tensors["generator.stem.bias"]
    for name in [name for name in tensors if name.startswith("generator.") and name.endswith("population_variance")]:
        mean = tensors[name.replace("variance", "mean")]
        tensors[name.replace("variance", "mean_square")] = tensors.pop(name) + mean.square()
    save_file(tensors, path, metadata)
    loaded = load_networks(path).generator
    assert isinstance(loaded, MultiScaleGenerator)
    z = torch.rand(2, game.latent_size) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(loaded(z), game.generator.eval()(z), rtol=1e-4, atol=1e-4)
