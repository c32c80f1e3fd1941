"""Random streams in a checkpoint, also where the run goes on on another device."""

from __future__ import annotations

import pytest
import torch

from igan_zoo.training.distributed import World
from igan_zoo.training.runs.random_states import random_states, restore_random_states, split_random_states


def test_the_stream_goes_on_where_it_was() -> None:
    states = random_states(World(), "cpu")
    expected = torch.rand(3)
    torch.rand(5)
    restore_random_states(states, World(), "cpu")
    assert torch.equal(torch.rand(3), expected)


def test_they_are_told_apart_from_other_tensors() -> None:
    states = random_states(World(), "cpu")
    assert split_random_states({**states, "generator.weight": torch.zeros(1)}) == (
        states,
        {"generator.weight": torch.zeros(1)},
    )


def test_a_run_from_the_cpu_goes_on_with_cuda_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no state for CUDA in a CPU's checkpoint: its stream starts from the CPU's, the same every time."""
    seeds: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed", seeds.append)
    states = random_states(World(), "cpu")
    expected = torch.rand(3)
    for _ in range(2):
        restore_random_states(states, World(), "cuda")
        assert torch.equal(torch.rand(3), expected), "the CPU's own stream is as it was"
    assert len(set(seeds)) == 1
    assert len(seeds) == 2

    given: list[torch.Tensor] = []
    monkeypatch.setattr(torch.cuda, "set_rng_state", given.append)
    of_cuda = torch.zeros(16, dtype=torch.uint8)
    both = {**states, "random_state_cuda.0": of_cuda}
    restore_random_states(both, World(), "cuda")
    assert given == [of_cuda]
    restore_random_states(both, World(), "cpu")
    assert len(given) == 1


def test_another_number_of_processes_is_refused() -> None:
    states = random_states(World(), "cpu")
    with pytest.raises(ValueError, match="2 processes"):
        restore_random_states(states, World(0, 2), "cpu")
    with pytest.raises(ValueError, match="1 processes"):
        restore_random_states({**states, "random_state.1": states["random_state.0"]}, World(), "cpu")
