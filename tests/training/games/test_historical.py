"""Historical averaging against a list of everything the parameters have been."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from igan_zoo.errors import TrainingError
from igan_zoo.training.games.historical import HistoricalAverage
from igan_zoo.training.runs.checkpoints import history_tensors, load_checkpoint, restore, save_checkpoint

SHAPES = [(3, 4), (5,), (), (2, 1, 3)]


def parameters(dtype: torch.dtype, seed: int = 0) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, dtype=dtype, generator=generator)) for shape in SHAPES]


@torch.no_grad()
def wander(players: list[nn.Parameter], generator: torch.Generator) -> None:
    """What an optimizer's step does to the parameters, as far as an average cares."""
    for player in players:
        player.add_(torch.randn(player.shape, dtype=player.dtype, generator=generator), alpha=0.1)


def reference_penalty(players: list[nn.Parameter], past: list[list[Tensor]], weight: float) -> Tensor:
    """The paper's term in float64, from the list of all past parameters."""
    averages = [torch.stack([moment[index] for moment in past]).mean(dim=0) for index in range(len(players))]
    return weight * sum(
        ((player.detach().double() - average) ** 2).sum() for player, average in zip(players, averages, strict=True)
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("weight", [0.01, 3.0])
def test_the_penalty_is_that_of_a_list_of_all_past_parameters(
    dtype: torch.dtype, tolerance: float, weight: float
) -> None:
    """After each of 50 updates; relative tolerance 1e-12 in float64, 1e-5 in float32."""
    players, generator = parameters(dtype), torch.Generator().manual_seed(1)
    history = HistoricalAverage(players, weight)
    past: list[list[Tensor]] = []
    for _ in range(50):
        wander(players, generator)
        history.update()
        past.append([player.detach().double().clone() for player in players])
        wander(players, generator)
        expected = reference_penalty(players, past, weight)
        assert history.penalty().item() == pytest.approx(expected.item(), rel=tolerance)


def test_float32_keeps_the_average_of_a_long_history() -> None:
    """5,000 values around 1, whose average wanders: right to the stated t · 6e-8 of its size."""
    generator = torch.Generator().manual_seed(0)
    values = 1 + 0.3 * torch.randn(5_000, 8, generator=generator) + torch.linspace(0, 0.5, 5_000)[:, None]
    player = nn.Parameter(values[0].clone())
    history = HistoricalAverage([player], 1.0)
    for moment in values:
        with torch.no_grad():
            player.copy_(moment)
        history.update()
    torch.testing.assert_close(history.averages[0].double(), values.double().mean(dim=0), rtol=5_000 * 6e-8, atol=0)


def test_the_gradient_pulls_towards_a_constant_average() -> None:
    """2 · weight · (θ - average), exactly; and the averages themselves get none."""
    players, generator = parameters(torch.float64), torch.Generator().manual_seed(2)
    history = HistoricalAverage(players, 0.7)
    for _ in range(3):
        wander(players, generator)
        history.update()
    wander(players, generator)
    history.penalty().backward()
    for player, average in zip(players, history.averages, strict=True):
        torch.testing.assert_close(player.grad, 2 * 0.7 * (player.detach() - average), rtol=1e-14, atol=0)
        assert not average.requires_grad
        assert average.grad is None


def test_autograd_agrees_with_finite_differences() -> None:
    weight = torch.randn(4, dtype=torch.float64, requires_grad=True)
    history = HistoricalAverage([weight], 0.3)
    history.update()
    with torch.no_grad():
        weight += 1

    def penalty(value: Tensor) -> Tensor:
        moved = HistoricalAverage([value], 0.3)
        moved.averages, moved.updates = history.averages, history.updates
        return moved.penalty()

    assert torch.autograd.gradcheck(penalty, (weight,))


def test_before_the_first_update_there_is_nothing_to_pay() -> None:
    (player, *_) = players = parameters(torch.float32)
    loss = player.sum() + HistoricalAverage(players, 5.0).penalty()
    assert loss.item() == player.sum().item()
    loss.backward()
    torch.testing.assert_close(player.grad, torch.ones_like(player))


def test_after_one_update_a_player_who_stays_pays_nothing() -> None:
    players = parameters(torch.float32)
    history = HistoricalAverage(players, 5.0)
    history.update()
    assert history.penalty().item() == 0


def test_a_network_gives_its_parameters_as_an_iterator() -> None:
    network = nn.Linear(2, 3)
    assert [average.shape for average in HistoricalAverage(network.parameters(), 1.0).averages] == [(3, 2), (3,)]


def test_a_checkpoint_brings_the_history_back(tmp_path: Path) -> None:
    """What goes on from a checkpoint pays the same to the last bit, now and after more updates."""
    players, generator = parameters(torch.float32), torch.Generator().manual_seed(3)
    history = HistoricalAverage(players, 0.5)
    for _ in range(7):
        wander(players, generator)
        history.update()
    path = tmp_path / "checkpoint.safetensors"
    facts = {"epoch": 1, "step": 0, "history_updates": history.updates}
    save_checkpoint(path, history_tensors("history", history), facts)

    resumed = HistoricalAverage(players, 0.5)
    tensors, facts = load_checkpoint(path)
    restore(history_tensors("history", resumed), tensors, path)
    resumed.updates = facts["history_updates"]
    for _ in range(2):
        wander(players, generator)
        assert resumed.penalty().item() == history.penalty().item() > 0
        history.update()
        resumed.update()

    with pytest.raises(TrainingError, match="does not fit this recipe"):
        restore(history_tensors("history", HistoricalAverage(players[:2], 0.5)), tensors, path)
