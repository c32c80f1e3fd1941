"""The random streams of every process, as tensors of a checkpoint.

# Differs from the 2016 code: its streams are Theano's and numpy's, here they are torch's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from igan_zoo.training.distributed import World

_PREFIX = "random_state"


def random_states(world: World, device: str) -> dict[str, Tensor]:
    """Returns the states of all processes by name; every process calls it."""
    states = {f"{_PREFIX}.{rank}": state for rank, state in enumerate(world.gather(torch.get_rng_state()))}
    if device == "cuda":
        gathered = world.gather(torch.cuda.get_rng_state())
        states |= {f"{_PREFIX}_cuda.{rank}": state for rank, state in enumerate(gathered)}
    return states


def split_random_states(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Returns the states among the tensors of a checkpoint, and the others."""
    states = {name: tensor for name, tensor in tensors.items() if name.startswith(_PREFIX)}
    return states, {name: tensor for name, tensor in tensors.items() if name not in states}


def restore_random_states(states: dict[str, Tensor], world: World, device: str) -> None:
    """Sets this process's streams to what :func:`random_states` returned.

    A run that was on the CPU and goes on with CUDA has no state for it: that stream starts from the CPU's.

    Raises:
        ValueError: the states are those of another number of processes.
    """
    if f"{_PREFIX}.{world.size - 1}" not in states or f"{_PREFIX}.{world.size}" in states:
        raise ValueError(f"the states are not those of {world.size} processes")
    state = states[f"{_PREFIX}.{world.rank}"]
    torch.set_rng_state(state)
    if device == "cuda":
        of_cuda = states.get(f"{_PREFIX}_cuda.{world.rank}")
        if of_cuda is not None:
            torch.cuda.set_rng_state(of_cuda)
        else:
            stream = torch.Generator()
            stream.set_state(state)
            torch.cuda.manual_seed(int(torch.randint(2**63 - 1, (), generator=stream)))
