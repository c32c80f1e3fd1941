"""Several processes make the update that one process makes with the mean of their losses."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, multiprocessing, nn

from igan_zoo.images.labeled import LabeledImages
from igan_zoo.training.distributed import World
from igan_zoo.training.games.choice import new_game
from igan_zoo.training.games.game import Batches, Game
from igan_zoo.training.loop import Options, Training
from igan_zoo.training.networks.layers import GaussianNoise
from igan_zoo.training.recipes.catalogue import find_recipe
from igan_zoo.training.recipes.settings import customize
from igan_zoo.training.runs.checkpoints import load_checkpoint
from igan_zoo.training.runs.directory import Run
from tests.conftest import synthetic_digits

RECIPES = ("mnist-ssl", "cifar10-ssl", "cifar10-table3-l-ha", "imagenet128")


def quiet_game(name: str, world: World | None) -> Game:
    """A small game without noise, the same in every process."""
    torch.manual_seed(5)
    settings = ["batch_size=4", *([] if name == "mnist-ssl" else ["network_width=0.0625"])]
    if name == "imagenet128":
        settings += ["height=32", "width=32"]
    game = new_game(customize(find_recipe(name), settings), 10, world=world)
    for module in game.discriminator.modules():
        if isinstance(module, GaussianNoise):
            module.stddev = 0.0
        elif isinstance(module, nn.Dropout):
            module.p = 0.0
    for history in game.histories.values():
        history.update()
    return game


def half(name: str, rank: int) -> tuple[Batches, Tensor]:
    """What the process of ``rank`` sees: real images, and the latents that its generator is given."""
    torch.manual_seed(100 + rank)
    shape = (4, 784) if name == "mnist-ssl" else (4, 3, 32, 32)
    labels = torch.tensor([0, 3, 7, 9])
    latents = torch.rand(4, 1)
    if name == "imagenet128":
        return Batches((torch.rand(shape), labels), None), latents
    known = None if name == "cifar10-table3-l-ha" else (torch.rand(shape), labels)
    return Batches(known, (torch.rand(shape), torch.rand(shape))), latents


def give_latents(game: Game, latents: Tensor) -> None:
    """Lets the generator draw the same images again and again."""
    drawn = (latents * torch.arange(1, game.latent_size + 1)).frac()
    game._latents = lambda count: drawn[:count]  # type: ignore[method-assign]


def play(rank: int, port: int, name: str, out: str) -> None:
    os.environ.update(RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    world = World.join("cpu")
    game = quiet_game(name, world)
    if rank > 0:
        with torch.no_grad():
            for parameter in game.discriminator.parameters():
                parameter.add_(1)
    world.share_first(game.tensors().values())
    batches, latents = half(name, rank)
    give_latents(game, latents)
    game.step(batches)
    torch.save({key: tensor.clone() for key, tensor in game.tensors().items()}, f"{out}/{rank}.pt")
    world.leave()


def mean_step(name: str) -> Game:
    """One process that takes the gradients of both halves, one after the other, and steps along their mean."""
    gradients: dict[str, list[list[Tensor]]] = {"generator": [], "discriminator": []}
    # The second player of an alternating game steps against the first one's new parameters, so play twice: the first
    # time for the discriminator's mean gradient, the second time, that step being made, for the generator's.
    game = quiet_game(name, None)
    order = ["discriminator", "generator"] if not game.recipe.simultaneous else ["generator", "discriminator"]
    for player in order:
        parts: list[list[Tensor]] = []
        for rank in range(2):
            probe = quiet_game(name, None)
            batches, latents = half(name, rank)
            give_latents(probe, latents)
            if player == "generator" and not game.recipe.simultaneous:
                probe.discriminator.load_state_dict(game.discriminator.state_dict())
                # Its own step must not move it again.
                probe.optimizers["discriminator"].descend = probe.optimizers["discriminator"].zero_grad  # type: ignore[method-assign]
            taken = probe.optimizers[player]
            captured: list[Tensor] = []

            def capture(taken: torch.optim.Optimizer = taken, captured: list[Tensor] = captured) -> None:
                captured += [p.grad.clone() for group in taken.param_groups for p in group["params"]]

            taken.descend = capture  # type: ignore[attr-defined]
            probe.step(batches)
            parts.append(captured)
        gradients[player] = parts
        optimizer = game.optimizers[player]
        for parameter, first, second in zip(optimizer.parameters, *parts, strict=True):
            parameter.grad = (first + second) / 2
        optimizer.descend()
    return game


@pytest.mark.parametrize("name", RECIPES)
def test_two_processes_step_like_one_that_averages_their_losses(name: str, tmp_path: Path) -> None:
    """Every parameter within 1e-5 of the single process's, and both processes equal to the last bit.

    They begin with different parameters, until the second takes those of the first.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(play, args=(port, name, str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    expected = mean_step(name)
    start = quiet_game(name, None)
    if "generator.reference" in first:
        assert torch.equal(first["generator.reference"], second["generator.reference"]), "one reference batch for all"
    for player, network in expected.players():
        moved = dict(dict(start.players())[player].named_parameters())
        for key, parameter in network.named_parameters():
            both = first[f"{player}.{key}"], second[f"{player}.{key}"]
            assert torch.equal(*both), key
            torch.testing.assert_close(both[0], parameter.detach(), rtol=0, atol=1e-5, msg=f"{player}.{key}")
            assert not torch.equal(both[0], moved[key]), f"{player}.{key} did not move"


def test_a_run_starts_with_the_networks_of_the_first_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of their tensors, after the data-dependent initialization and before the first checkpoint."""
    shared: list[Tensor] = []
    monkeypatch.setattr(World, "share_first", lambda world, tensors: shared.extend(tensors))
    recipe = customize(find_recipe("mnist-ssl"), ["batch_size=4", "labels=10", "initialization_images=20"])
    images, labels = synthetic_digits(40, 1)
    data = LabeledImages(images[..., None], labels, tuple("0123456789"))
    training = Training(recipe, data, Run(tmp_path), options=Options())
    training.start()
    saved, _ = load_checkpoint(tmp_path / "checkpoint.safetensors")
    live = training.game.tensors()
    assert [tensor.data_ptr() for tensor in shared] == [tensor.data_ptr() for tensor in live.values()]
    assert all(torch.equal(saved[name], tensor) for name, tensor in live.items() if tensor.isfinite().all())


def test_processes_share_an_epoch_without_overlap() -> None:
    order = np.random.default_rng(0).permutation(103)
    shares = [World(rank, 2).share(order, 10) for rank in range(2)]
    assert [share.shape for share in shares] == [(5, 10), (5, 10)]
    assert np.array_equal(np.sort(np.concatenate(shares).ravel()), np.sort(order[:100]))
    assert np.array_equal(World().share(order, 10).ravel(), order[:100])
