"""Several processes that train one game: each its own batches, all the same parameters.

Started by ``torchrun``, which tells every process its rank; without it there is one process and nothing to do. Only the
gradients are averaged: statistics of a batch and minibatch discrimination stay within a process, as in the 2016 code.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch import distributed as dist


@dataclass(frozen=True)
class World:
    """How many processes there are, and which one this is."""

    rank: int = 0
    size: int = 1

    @staticmethod
    def join(device: str) -> World:
        """Joins the processes that ``torchrun`` started: over nccl between GPUs, over gloo between CPUs."""
        if "RANK" not in os.environ:
            return World()
        if device == "cuda":
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        if not dist.is_initialized():
            # States of the CPU's random numbers are exchanged on GPUs too.
            dist.init_process_group("cpu:gloo,cuda:nccl" if device == "cuda" else "gloo")
        return World(dist.get_rank(), dist.get_world_size())

    def leave(self) -> None:
        """Ends the connection to the others."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes files."""
        return self.rank == 0

    def share(self, order: NDArray[np.int64], batch_size: int) -> NDArray[np.int64]:
        """Returns this process's batches of an epoch's order, ``[steps, batch_size]``; a remainder is left out."""
        steps = len(order) // (batch_size * self.size)
        used = order[: steps * self.size * batch_size]
        return used.reshape(steps, self.size, batch_size)[:, self.rank]

    @torch.no_grad()
    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replaces tensors by their mean over all processes, in one message."""
        if self.size == 1:
            return
        tensors = list(tensors)
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat)
        parts = torch.split(flat / self.size, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view(tensor.shape))

    @torch.no_grad()
    def share_first(self, tensors: Iterable[Tensor]) -> None:
        """Replaces tensors by those of the first process."""
        if self.size == 1:
            return
        for tensor in tensors:
            first = tensor.contiguous()
            dist.broadcast(first, src=0)
            tensor.copy_(first)

    def sum(self, tensor: Tensor) -> Tensor:
        """Returns the sum of a tensor over all processes."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """Returns everybody's tensor, in the order of ranks."""
        if self.size == 1:
            return [tensor]
        everybody = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(everybody, tensor)
        return everybody

    def decide(self, decision: bool) -> bool:
        """Returns the decision of the first process, the same to all."""
        if self.size == 1:
            return decision
        first = torch.tensor([decision])
        dist.broadcast(first, src=0)
        return bool(first)

    def wait(self) -> None:
        """Waits until all processes have come this far."""
        if self.size > 1:
            dist.barrier()
