"""Training on a GPU: ``python -m pytest -m cuda`` where there is one; what a CPU can do of it runs everywhere."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from torch import nn

from igan_zoo.errors import OutOfTimeError
from igan_zoo.export.exporter import export_run
from igan_zoo.training.games.choice import new_game
from igan_zoo.training.games.game import Batches, Game
from igan_zoo.training.loop import Options
from igan_zoo.training.networks.layers import GaussianNoise
from igan_zoo.training.precision import float32_as
from igan_zoo.training.recipes.catalogue import find_recipe
from igan_zoo.training.recipes.settings import Precision, customize
from igan_zoo.training.runs.checkpoints import checkpoint_facts
from igan_zoo.training.runs.directory import Run
from igan_zoo.training.start import start_training
from tests.conftest import TINY

CUDA = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
DEVICES = ["cpu", pytest.param("cuda", marks=CUDA)]
RECIPES = ["mnist-ssl", "cifar10-ssl", "cifar10-mbd", "cifar10-table3-ours", "imagenet128"]
WIDE = ["mnist-ssl"]  # with a width of its own


def quiet_game(name: str, device: str, precision: Precision = "float32") -> Game:
    """A small game without noise, with the same parameters on every device."""
    size = ["height=32", "width=32"] if name == "imagenet128" else []
    width = [] if name in WIDE else ["network_width=0.125"]
    torch.manual_seed(5)
    settings = ["batch_size=8", f"precision={precision}", *width, *size]
    game = new_game(customize(find_recipe(name), settings), 10)
    tensors = game.tensors()
    game = new_game(game.recipe, 10, device=device)
    with torch.no_grad():
        for key, tensor in game.tensors().items():
            tensor.copy_(tensors[key])
    for module in game.discriminator.modules():
        if isinstance(module, GaussianNoise):
            module.stddev = 0.0
        elif isinstance(module, nn.Dropout):
            module.p = 0.0
    latents = torch.rand(8, game.latent_size, generator=torch.Generator().manual_seed(1)).to(device)
    game._latents = lambda count: latents[:count]  # type: ignore[method-assign]
    return game


def batches_of(name: str, device: str) -> Batches:
    stream = torch.Generator().manual_seed(2)
    shape = (8, 784) if name == "mnist-ssl" else (8, 3, 32, 32)
    labelled, first, second = (torch.rand(shape, generator=stream).to(device) for _ in range(3))
    labels = torch.arange(8, device=device)
    return Batches((labelled, labels), None if name == "imagenet128" else (first, second))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", RECIPES)
def test_a_step_is_the_step_of_the_cpu(name: str, device: str) -> None:
    """Losses within 0.1 %; parameters move by less than a hundredth of a step apart, but for a few whose gradient is
    about zero: Adam makes a whole step of its sign.
    """
    with float32_as("float32", device):
        expected, game = quiet_game(name, "cpu"), quiet_game(name, device)
        losses = expected.step(batches_of(name, "cpu"))
        for key, loss in game.step(batches_of(name, device)).items():
            assert loss.item() == pytest.approx(losses[key].item(), rel=1e-3, abs=1e-5), key
        for player, network in game.players():
            wanted = dict(dict(expected.players())[player].named_parameters())
            for key, parameter in network.named_parameters():
                apart = (parameter.detach().cpu() - wanted[key].detach()).abs() / game.recipe.learning_rate
                assert (apart > 0.01).float().mean() < 0.02, f"{player}.{key}"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", ["tf32", "bfloat16", "auto"])
def test_every_precision_is_close(precision: Precision, device: str) -> None:
    with float32_as(quiet_game("mnist-ssl", device, precision).precision, device):
        losses = quiet_game("cifar10-ssl", device).step(batches_of("cifar10-ssl", device))
        for key, loss in quiet_game("cifar10-ssl", device, precision).step(batches_of("cifar10-ssl", device)).items():
            if key.endswith("_loss"):
                assert loss.item() == pytest.approx(losses[key].item(), rel=0.1, abs=0.01), key


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
@pytest.mark.parametrize("name", ["mnist-ssl", "cifar10-mbd", "imagenet128"])
@pytest.mark.parametrize("device", [pytest.param("cuda", marks=CUDA)])
def test_compiled_steps_are_close_to_eager_ones(name: str, mode: str, device: str) -> None:
    """Several of them, so that CUDA graphs are recorded and replayed."""
    plain, compiled = quiet_game(name, device), quiet_game(name, device)
    compiled.compile(mode)
    for _ in range(5):
        losses = plain.step(batches_of(name, device))
        for key, loss in compiled.step(batches_of(name, device)).items():
            assert loss.item() == pytest.approx(losses[key].item(), rel=0.05, abs=0.01), key


@pytest.mark.parametrize("device", DEVICES)
def test_a_run_goes_on_on_another_device_and_is_exported(device: str, data_directory: Path, tmp_path: Path) -> None:
    """A step on the CPU, one on the device, the last on the CPU."""
    settings = [*TINY, "epochs=1", "epoch_images=60", "labels=20"]
    recipe, path = customize(find_recipe("mnist-ssl-softplus"), settings), tmp_path / "run"
    for step, place in ((1, "cpu"), (2, device)):
        late = Options(device=place, deadline=time.monotonic())
        with pytest.raises(OutOfTimeError):
            start_training(recipe, str(data_directory), path, resume=True, threads=1, options=late)
        assert checkpoint_facts(path / "checkpoint.safetensors")["step"] == step
    start_training(recipe, str(data_directory), path, resume=True, threads=1)
    assert Run(path).is_finished()
    export_run(path, tmp_path / "model", test=None, name="tiny")
