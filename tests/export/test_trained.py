"""Weights files of models."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file, safe_open, save_file

from igan_zoo.export.trained import TrainedNetworks, load_networks, save_networks
from igan_zoo.training.games import new_game
from igan_zoo.training.imagenet_networks import MultiScaleGenerator
from igan_zoo.training.recipes import IMAGENET128
from igan_zoo.training.settings import customize


def test_a_file_from_before_the_first_layer_had_a_bias_is_read_as_if_it_were_zero(tmp_path: Path) -> None:
    recipe = customize(IMAGENET128, ["network_width=0.0625", "height=32", "width=32", "batch_size=2"])
    game = new_game(recipe, 3)
    path = tmp_path / "model.safetensors"
    save_networks(
        path, TrainedNetworks(recipe, ("a", "b", "c"), game.latent_size, game.generator, (game.discriminator,))
    )
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    del tensors["generator.stem.bias"]
    save_file(tensors, path, metadata)
    loaded = load_networks(path).generator
    assert isinstance(loaded, MultiScaleGenerator)
    assert not loaded.stem.bias.any()
    assert torch.equal(loaded.stem.weight, tensors["generator.stem.weight"])
