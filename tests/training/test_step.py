"""One training step against an independent numpy computation in float64.

The reference evaluates the whole step's losses from the formulas of the spec, without autograd; gradients are checked
as directional derivatives of it, by central differences.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from igan_zoo.training.games.alternating import AlternatingGame
from igan_zoo.training.networks.layers import GaussianNoise
from igan_zoo.training.recipes.experiments import MNIST_SSL, MNIST_SSL_SOFTPLUS
from igan_zoo.training.recipes.settings import Recipe, customize

Parameters = dict[str, NDArray[np.float64]]
BATCH = 12


def dense(x: NDArray[np.float64], p: Parameters, name: str, epsilon: float) -> NDArray[np.float64]:
    weight = (
        p[f"{name}.direction"] * (p[f"{name}.scale"] / np.sqrt(epsilon + (p[f"{name}.direction"] ** 2).sum(1)))[:, None]
    )
    return x @ weight.T + p[f"{name}.bias"]


def normalize(x: NDArray[np.float64], shift: NDArray[np.float64]) -> NDArray[np.float64]:
    return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-6) + shift


def softplus(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log1p(np.exp(-abs(x))) + np.maximum(x, 0)


def generate(p: Parameters, z: NDArray[np.float64], output: str) -> NDArray[np.float64]:
    h = softplus(normalize(z @ p["0.weight"].T, p["1.shift"]))
    h = softplus(normalize(h @ p["3.weight"].T, p["4.shift"]))
    x = dense(h, p, "6", 1e-6)
    return softplus(x) if output == "softplus" else 1 / (1 + np.exp(-x))


def features(p: Parameters, x: NDArray[np.float64]) -> NDArray[np.float64]:
    for index in (1, 4, 7, 10, 13):
        x = np.maximum(dense(x, p, f"body.{index}", 0.0), 0)
    return x


def log_z(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(np.exp(logits).sum(1))


def discriminator_loss(
    p: Parameters, batches: list[NDArray[np.float64]], labels: NDArray[np.int64], weight: float
) -> float:
    logits = [dense(features(p, x), p, "head.1", 0.0) for x in batches]
    supervised = (-logits[0][np.arange(BATCH), labels] + log_z(logits[0])).mean()
    real, fake = log_z(logits[1]), log_z(logits[2])
    return float(supervised + weight * 0.5 * (-real.mean() + softplus(real).mean() + softplus(fake).mean()))


def matching_loss(
    p_g: Parameters, p_d: Parameters, z: NDArray[np.float64], real: NDArray[np.float64], output: str
) -> float:
    difference = features(p_d, generate(p_g, z, output)).mean(0) - features(p_d, real).mean(0)
    return float((difference**2).mean())


def state(network: torch.nn.Module) -> Parameters:
    return {name: tensor.detach().numpy().copy() for name, tensor in network.state_dict().items()}


def check_gradients(network: torch.nn.Module, loss: Callable[[Parameters], float]) -> None:
    """Every parameter's gradient along three random directions, within 1e-5 of the central difference."""
    generator = np.random.default_rng(0)
    start = state(network)
    for name, parameter in network.named_parameters():
        for _ in range(3):
            direction = generator.normal(size=start[name].shape)
            direction /= np.linalg.norm(direction)
            step = 1e-6
            ahead = loss({**start, name: start[name] + step * direction})
            behind = loss({**start, name: start[name] - step * direction})
            assert parameter.grad is not None
            expected = (ahead - behind) / (2 * step)
            assert (parameter.grad.numpy() * direction).sum() == pytest.approx(expected, rel=1e-5, abs=1e-8), name


@pytest.fixture(params=[MNIST_SSL, MNIST_SSL_SOFTPLUS], ids=lambda recipe: recipe.name)
def game(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AlternatingGame:
    """A game in float64 without noise, whose optimizers compute gradients and do not step."""
    torch.manual_seed(3)
    recipe: Recipe = customize(request.param, [f"batch_size={BATCH}", "unlabeled_weight=0.7"])
    game = AlternatingGame(recipe, 10)
    game.generator.double()
    game.discriminator.double()
    for module in game.discriminator.modules():
        if isinstance(module, GaussianNoise):
            module.stddev = 0.0
    for optimizer in game.optimizers.values():
        monkeypatch.setattr(optimizer, "descend", lambda: None)
    monkeypatch.setattr(game.averages["discriminator"], "update", lambda: None)
    return game


@pytest.fixture
def fixed(game: AlternatingGame, monkeypatch: pytest.MonkeyPatch) -> dict[str, NDArray[np.float64]]:
    """Images, and latents that the game is made to use."""
    generator = np.random.default_rng(1)
    z = generator.random((BATCH, 100))
    monkeypatch.setattr(game, "generate", lambda: game.generator(torch.from_numpy(z)))
    return {"z": z, "labelled": generator.random((BATCH, 784)), "unlabelled": generator.random((BATCH, 784))}


def test_the_discriminator_step(game: AlternatingGame, fixed: dict[str, NDArray[np.float64]]) -> None:
    labels = np.arange(BATCH) % 10
    fake = generate(state(game.generator), fixed["z"], game.recipe.generator_output)
    batches = [fixed["labelled"], fixed["unlabelled"], fake]
    result = game.discriminator_step(
        (torch.from_numpy(fixed["labelled"]), torch.from_numpy(labels)), torch.from_numpy(fixed["unlabelled"])
    )
    weight = game.recipe.unlabeled_weight
    expected = discriminator_loss(state(game.discriminator), batches, labels, weight)
    assert (result["labelled_loss"] + weight * result["unlabelled_loss"]).item() == pytest.approx(expected, rel=1e-10)
    check_gradients(game.discriminator, lambda p: discriminator_loss(p, batches, labels, weight))
    assert game.generator is not None
    assert all(parameter.grad is None for parameter in game.generator.parameters())


def test_the_generator_step(game: AlternatingGame, fixed: dict[str, NDArray[np.float64]]) -> None:
    output = game.recipe.generator_output
    result = game.generator_step(torch.from_numpy(fixed["unlabelled"]))
    p_d = state(game.discriminator)

    def loss(p: Parameters) -> float:
        return matching_loss(p, p_d, fixed["z"], fixed["unlabelled"], output)

    assert result["feature_matching_loss"].item() == pytest.approx(loss(state(game.generator)), rel=1e-10)
    check_gradients(game.generator, loss)
    assert all(parameter.grad is None for parameter in game.discriminator.parameters())
    assert all(parameter.requires_grad for parameter in game.discriminator.parameters())
