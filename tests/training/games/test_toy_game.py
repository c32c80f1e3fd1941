"""The toy game of section 3.3: the players, the paper's two claims, and what we say about how fast."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from igan_zoo.errors import OutputError
from igan_zoo.training.games.toy_game import Outcome, ToyGame, draw_game, gradients, play, value


@pytest.fixture(scope="module")
def outcomes() -> tuple[Outcome, Outcome]:
    """Gradient descent and historical averaging, as ``igan-zoo reproduce toy-game`` plays them."""
    descent, averaging = ToyGame().play().values()
    return descent, averaging


def test_the_value_is_the_papers() -> None:
    x, y = torch.tensor([-2.0, 3.0, 1.0]), torch.tensor([4.0, 0.0, 7.0])
    assert value(x, y).tolist() == [(-2 - 1) * 3, (9 - 1) * -1, 0]


def test_each_player_follows_the_gradient_of_its_own_cost() -> None:
    """Autograd of V in x and of -V in y, at points on both sides of the kink."""
    points = torch.from_numpy(ToyGame().starts()).requires_grad_()
    x, y = points.detach().T
    in_x, in_y = gradients(x, y)
    (of_value,) = torch.autograd.grad(value(*points.T).sum(), points)
    torch.testing.assert_close(in_x, of_value[:, 0])
    torch.testing.assert_close(in_y, -of_value[:, 1])


def reference_play(start: NDArray[np.float64], learning_rate: float, weight: float, steps: int) -> NDArray[np.float64]:
    """One start, one step after the other, with a list of everything that was."""
    points = [start]
    for _ in range(steps):
        x, y = points[-1]
        gradient = np.array([(1 if x < 0 else 2 * x) * (y - 1), 1 - (x if x < 0 else x * x)])
        if len(points) > 1:
            gradient += 2 * weight * (points[-1] - np.mean(points[1:], axis=0))
        points.append(points[-1] - learning_rate * gradient)
    return np.array(points)


@pytest.mark.parametrize("weight", [None, 0.5])
def test_playing_from_many_starts_at_once_is_playing_from_each(weight: float | None) -> None:
    starts = np.array([[-2.0, -2.0], [3.0, 0.5], [0.2, 4.0]])
    points = play(starts, learning_rate=0.03, weight=weight, steps=300)
    assert points.shape == (301, 3, 2)
    for index, start in enumerate(starts):
        reference = reference_play(start, 0.03, weight or 0.0, 300)
        np.testing.assert_allclose(points[:, index], reference, rtol=1e-9, atol=1e-9)


def test_gradient_descent_orbits_and_stays_away(outcomes: tuple[Outcome, Outcome]) -> None:
    """No start converges, and the nearest of all moments in the last fifth is still 0.9 away."""
    descent, _ = outcomes
    assert descent.summary()["converged"] == 0
    assert descent.at_the_end().min() > 0.9
    around = np.unwrap(np.arctan2(*(descent.points - 1).transpose(2, 0, 1)), axis=0)
    assert (np.abs(around[-1] - around[0]) > 2 * np.pi).all(), "each start has gone round at least once"


def test_smaller_steps_only_make_the_orbits_closed() -> None:
    """The conserved quantity of the docstring, within 2 % over more than one round of steps of 0.0005."""
    points = play(np.array([[1.5, 1.5], [2.0, 1.0]]), learning_rate=0.0005, weight=None, steps=8000)
    x, y = points.transpose(2, 0, 1)
    energy = (y - 1) ** 2 / 2 + x**2 / 4 - np.log(x) / 2 - 0.25
    assert np.abs(energy / energy[0] - 1).max() < 0.02
    assert (np.abs(points[4000:] - points[0]).max(axis=2).min(axis=0) < 0.02).all(), "it comes back"


def test_historical_averaging_converges_from_all_starts(outcomes: tuple[Outcome, Outcome]) -> None:
    _, averaging = outcomes
    summary = averaging.summary()
    assert summary["converged"] == summary["starts"] == 144
    assert summary["median_final_distance"] < 0.02
    halves = averaging.distances()[2000], averaging.distances()[4000]
    assert (halves[1] < halves[0]).all(), "every start is still coming closer"


@pytest.mark.parametrize("weight", [0.15, 0.5, 1.0])
def test_the_distance_falls_like_the_stated_power_of_time(weight: float) -> None:
    """Exponent between steps 1000 and 2000, within 0.02."""
    points = play(np.array([[1.5, 1.0], [1.2, 1.3]]), learning_rate=0.05, weight=weight, steps=2000)
    distances = Outcome(points).distances()
    exponents = np.log(distances[2000] / distances[1000]) / math.log(2)
    np.testing.assert_allclose(exponents, -1 / (1 + weight**2), atol=0.02)


def test_a_player_without_a_gradient_never_moves() -> None:
    """x = 0 is why no start has it: neither method leaves it."""
    for weight in (None, 0.15):
        assert not play(np.array([[0.0, 3.0]]), learning_rate=0.015, weight=weight, steps=100)[:, 0, 0].any()
    assert np.abs(ToyGame().starts()[:, 0]).min() > 0.1


def test_who_is_at_the_equilibrium_stays() -> None:
    for weight in (None, 0.15):
        assert (play(np.array([[1.0, 1.0]]), learning_rate=0.015, weight=weight, steps=10) == 1).all()


def test_a_summary_counts_who_stays_near_through_the_last_fifth() -> None:
    """Ten steps, so the last two count: one start is near in both, one in the last only, one in neither."""
    points = np.full((11, 3, 2), 1.0)
    points[:9, :, 0] += 5
    points[9:, 0, 0] += 0.09
    points[9:, 1, 0] += (0.2, 0.05)
    points[9:, 2, 1] -= (3, 2)
    assert Outcome(points).summary() == {
        "starts": 3,
        "converged": 1,
        "median_final_distance": pytest.approx(0.09),
        "largest_final_distance": pytest.approx(2),
        "smallest_distance_at_the_end": pytest.approx(0.05),
        "largest_distance_at_the_end": pytest.approx(3),
    }


def test_the_picture_is_a_png_or_an_error(tmp_path: Path) -> None:
    few = ToyGame(steps=20, side=2).play()
    draw_game(tmp_path / "game.png", few)
    with Image.open(tmp_path / "game.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 2 * picture.height
    with pytest.raises(OutputError, match="Cannot write"):
        draw_game(tmp_path / "game.png" / "game.png", few)
    assert [path.name for path in tmp_path.iterdir()] == ["game.png"]
